"""The server's choice of layers (F³OCUS, section 3.3): selectors by name, limits and picks."""

from collections.abc import Callable
from functools import partial

from f3ocus_jax.selection import (
    allocated,
    exact,
    limits,
    own,
    random_keys,
    regularised,
    search,
)
from f3ocus_jax.selection.allocated import SHAPES
from f3ocus_jax.selection.annealing import Annealing
from f3ocus_jax.selection.ant_colony import AntColony
from f3ocus_jax.selection.bee_colony import BeeColony
from f3ocus_jax.selection.limits import InfeasibleError, Requirements
from f3ocus_jax.selection.mopso import MOPSO
from f3ocus_jax.selection.nsga2 import NSGA2
from f3ocus_jax.selection.published import PUBLISHED, random_population
from f3ocus_jax.selection.selector import PICKS, Select, Selection, SelectorOptions

METAHEURISTICS = {
    "nsga2": NSGA2,
    "abc": BeeColony,
    "aco": AntColony,
    "sa": Annealing,
    "mopso": MOPSO,
}
"""The five metaheuristics of the paper, by name, as memetic algorithms."""

VARIANTS = {"memetic": METAHEURISTICS, "published": PUBLISHED}
"""Variants of the five: with the shared local search and informed first choices, or as the
algorithms' own publications describe them."""

SELECTORS: dict[str, Callable[[SelectorOptions], Select]] = {
    "own": own.make_own_selector,
    "exact": exact.make_exact_selector,
    "allocated": allocated.make_allocated_selector,
    "regularised": regularised.make_regularised_selector,
    **{
        name: partial(search.make_search, algorithm, explores=True)
        for name, algorithm in METAHEURISTICS.items()
    },
    **{
        name: partial(search.make_search, partial(random_keys.RandomKeys, name))
        for name in random_keys.ALGORITHMS
    },
}
"""Selectors by name: own choices, the exact front, allocations, choices that agree across
clients, the paper's metaheuristics and evosax's."""


def make_selector(
    algorithm: str,
    *,
    population: int,
    generations: int,
    variant: str = "memetic",
    pick: str = "knee",
    pick_value: float = 0.0,
    disagreement_cost: float = 0.01,
    shape: str = "triangle",
    randomised: bool = False,
) -> Select:
    """Makes a selector, the server's choice of layers.

    Args:
      algorithm: Name of the selector, a key of `SELECTORS`.
      population: P, size of the population and of the front.
      generations: Number of generations per round; only searches use it.
      variant: Variant of the paper's five metaheuristics, a key of `VARIANTS`; every other selector
        has "memetic", the default, alone.
      pick: Rule that picks one point of the front, a key of `PICKS`.
      pick_value: Largest variance allowed for "importance"; index on the front, counted from the
        least important point, for "index".
      disagreement_cost: Cost of a layer that one of two clients trains and the other does not, for
        "regularised".
      shape: Shape of the layers that clients train, one of `SHAPES`, for "allocated".
      randomised: True if "allocated" draws every client's layers in every round.

    Returns:
      A `Select`, compiled once per number of clients and layers.

    Raises:
      ValueError: If the algorithm, the variant, the pick or the shape is unknown.
    """
    if algorithm not in SELECTORS:
        raise ValueError(f"selection algorithm {algorithm!r}: choose one of {sorted(SELECTORS)}")
    if pick not in PICKS:
        raise ValueError(f"selection pick {pick!r}: choose one of {sorted(PICKS)}")
    if variant not in VARIANTS:
        raise ValueError(f"selection variant {variant!r}: choose one of {sorted(VARIANTS)}")
    if shape not in SHAPES:
        raise ValueError(f"selection shape {shape!r}: choose one of {sorted(SHAPES)}")
    given = (disagreement_cost, shape, randomised)
    options = SelectorOptions(population, generations, pick, pick_value, *given)
    if variant == "memetic":
        return SELECTORS[algorithm](options)
    if algorithm not in PUBLISHED:
        raise ValueError(
            f"selection algorithm {algorithm!r} has no variant {variant!r}; choose one of "
            f"{sorted(PUBLISHED)}, or the variant 'memetic'"
        )
    return search.make_search(PUBLISHED[algorithm], options, first_generation=random_population)


__all__ = [
    "METAHEURISTICS",
    "PICKS",
    "PUBLISHED",
    "SELECTORS",
    "SHAPES",
    "VARIANTS",
    "InfeasibleError",
    "Requirements",
    "Select",
    "Selection",
    "limits",
    "make_selector",
]
