"""Rounds per second of the federation engine by placement of the clients, in turn."""

import math

from benchmarks import federation
from benchmarks.gpu import lines
from f3ocus_jax.clients.backends import BACKENDS


def main() -> None:
    """Runs the part."""
    given = lines.parse(__doc__.splitlines()[0])
    bursts, rounds = (1, 1) if given.tiny else (5, 20)
    for hidden in federation.HIDDEN[:1] if given.tiny else federation.HIDDEN:
        runs = {
            name: federation.by_engine(
                federation.same_step, hidden, federation.CLIENTS, ready=True, placement=name
            )
            for name in BACKENDS
        }
        first = {name: federation.burst(run, 1) for name, run in runs.items()}
        best = dict.fromkeys(runs, math.inf)
        for _ in range(bursts):
            for name, run in runs.items():
                best[name] = min(best[name], federation.burst(run, rounds))
        for name, seconds in best.items():
            row = {"placement": name, "hidden": hidden, "clients": federation.CLIENTS}
            row |= {"rounds_per_second": 1 / seconds, "first_call_seconds": first[name]}
            lines.write(given.out, "placements", row | {"tiny": given.tiny})


if __name__ == "__main__":
    main()
