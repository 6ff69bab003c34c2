"""Who trains which layer?"""

from functools import partial

from f3ocus_jax.selection import search, simple
from f3ocus_jax.selection.annealing import Annealing
from f3ocus_jax.selection.ant_colony import AntColony
from f3ocus_jax.selection.bee_colony import BeeColony
from f3ocus_jax.selection.mopso import MOPSO
from f3ocus_jax.selection.nsga2 import NSGA2
from f3ocus_jax.selection.selector import PICKS, Select, Selection

SELECTORS = {
    "nsga2": partial(search.create, NSGA2),
    "abc": partial(search.create, BeeColony),
    "aco": partial(search.create, AntColony),
    "sa": partial(search.create, Annealing),
    "mopso": partial(search.create, MOPSO),
    "lntk": partial(simple.create, simple.own_layers),
    "random": partial(simple.create, simple.random_layers),
    "last": partial(simple.create, simple.last_layers),
}


def create(
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
      A jitted `Select`, which compiles once per number of clients and layers.

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


__all__ = ["PICKS", "SELECTORS", "Select", "Selection", "create"]
