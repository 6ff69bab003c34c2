"""The server's choice of layers (F³OCUS, section 3.3): selectors by name, limits and picks."""

from collections.abc import Callable
from functools import partial

from f3ocus_jax.selection import exact, limits, own, random_keys, search
from f3ocus_jax.selection.annealing import Annealing
from f3ocus_jax.selection.ant_colony import AntColony
from f3ocus_jax.selection.bee_colony import BeeColony
from f3ocus_jax.selection.limits import InfeasibleError, Requirements
from f3ocus_jax.selection.mopso import MOPSO
from f3ocus_jax.selection.nsga2 import NSGA2
from f3ocus_jax.selection.selector import PICKS, Select, Selection, SelectorOptions

METAHEURISTICS = {
    "nsga2": NSGA2,
    "abc": BeeColony,
    "aco": AntColony,
    "sa": Annealing,
    "mopso": MOPSO,
}
"""The five metaheuristics of the paper, by name."""

SELECTORS: dict[str, Callable[[SelectorOptions], Select]] = {
    "own": own.make_own_selector,
    "exact": exact.make_exact_selector,
    **{name: partial(search.make_search, algorithm) for name, algorithm in METAHEURISTICS.items()},
    **{
        name: partial(search.make_search, partial(random_keys.RandomKeys, name))
        for name in random_keys.ALGORITHMS
    },
}
"""Selectors by name: own choices, the exact front, the paper's metaheuristics and evosax's."""


def make_selector(
    algorithm: str,
    *,
    population: int,
    generations: int,
    pick: str = "knee",
    pick_value: float = 0.0,
) -> Select:
    """Makes a selector, the server's choice of layers.

    Args:
      algorithm: Name of the selector, a key of `SELECTORS`.
      population: P, size of the population and of the front.
      generations: Number of generations per round; only searches use it.
      pick: Rule that picks one point of the front, a key of `PICKS`.
      pick_value: Largest variance allowed for "importance"; index on the front, counted from the
        least important point, for "index".

    Returns:
      A `Select`, compiled once per number of clients and layers.

    Raises:
      ValueError: If the algorithm or the pick is unknown.
    """
    if algorithm not in SELECTORS:
        raise ValueError(f"selection algorithm {algorithm!r}: choose one of {sorted(SELECTORS)}")
    if pick not in PICKS:
        raise ValueError(f"selection pick {pick!r}: choose one of {sorted(PICKS)}")
    return SELECTORS[algorithm](SelectorOptions(population, generations, pick, pick_value))


__all__ = [
    "METAHEURISTICS",
    "PICKS",
    "SELECTORS",
    "InfeasibleError",
    "Requirements",
    "Select",
    "Selection",
    "limits",
    "make_selector",
]
