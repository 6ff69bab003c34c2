"""Seconds of the server's choice for 10 000 clients, by algorithm."""

import functools

import jax
import numpy as np

from benchmarks import selection
from benchmarks.gpu import lines


def main() -> None:
    """Runs the part."""
    given = lines.parse(__doc__.splitlines()[0])
    case = "5" if given.tiny else "10000"
    scores_KL, budgets_K = selection.instance(case, 0.0, 0)
    clients, layers = scores_KL.shape
    front_PKL = selection.no_front(clients, layers)
    given_all = (jax.random.key(0), scores_KL.astype(np.float32), budgets_K, front_PKL)
    for name, select in selection.make_selects().items():
        row = lines.measure(functools.partial(select, *given_all), repeats=1 if given.tiny else 2)
        row |= {"algorithm": name, "clients": clients, "layers": layers, "tiny": given.tiny}
        lines.write(given.out, "selection", row)


if __name__ == "__main__":
    main()
