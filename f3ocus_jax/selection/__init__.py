"""Who trains which layer?"""

from collections.abc import Callable
from functools import partial

from f3ocus_jax.selection import exact, limits, own, random_keys, search
from f3ocus_jax.selection.annealing import Annealing
from f3ocus_jax.selection.ant_colony import AntColony
from f3ocus_jax.selection.bee_colony import BeeColony
from f3ocus_jax.selection.limits import InfeasibleError, Wanted
from f3ocus_jax.selection.mopso import MOPSO
from f3ocus_jax.selection.nsga2 import NSGA2
from f3ocus_jax.selection.selector import PICKS, Select, Selection

METAHEURISTICS = {
    "nsga2": NSGA2,
    "abc": BeeColony,
    "aco": AntColony,
    "sa": Annealing,
    "mopso": MOPSO,
}
"""The five of the paper."""

SELECTORS: dict[str, Callable[..., Select]] = {
    "own": own.make_own_selector,
    "exact": exact.make_exact_selector,
    **{name: partial(search.make_search, algorithm) for name, algorithm in METAHEURISTICS.items()},
    **{
        name: partial(search.make_search, partial(random_keys.RandomKeys, name))
        for name in random_keys.ALGORITHMS
    },
}
"""Who chooses, by name: each client itself, the exact front, the paper's five, evosax's."""


def make_selector(
    algorithm: str,
    *,
    population: int,
    generations: int,
    pick: str = "knee",
    pick_value: float = 0.0,
) -> Select:
    """Makes the server's choice of layers.

    Args:
      algorithm: a key of `SELECTORS`.
      population: P, the size of the population and of the front.
      generations: how often the population is renewed each round.
      pick: which point of the front is used, a key of `PICKS`.
      pick_value: the largest variance wanted for "importance", the place on the front, counted
        from the least important, for "index".

    Returns:
      A `Select`, which compiles once per number of clients and layers.

    Raises:
      ValueError: if there is no such algorithm or pick.
    """
    if algorithm not in SELECTORS:
        raise ValueError(f"selection algorithm {algorithm!r}: choose one of {sorted(SELECTORS)}")
    if pick not in PICKS:
        raise ValueError(f"selection pick {pick!r}: choose one of {sorted(PICKS)}")
    return SELECTORS[algorithm](
        population=population, generations=generations, pick=pick, pick_value=pick_value
    )


__all__ = [
    "METAHEURISTICS",
    "PICKS",
    "SELECTORS",
    "InfeasibleError",
    "Select",
    "Selection",
    "Wanted",
    "limits",
    "make_selector",
]
