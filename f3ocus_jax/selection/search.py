"""How is a search run? Seeds, one scan over the generations, and a pick from the front."""

from collections.abc import Callable
from typing import Any, Protocol

import jax

from f3ocus_jax.selection import seeds, selector
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select


class Algorithm(Protocol):
    """What runs: a metaheuristic of ours, or evosax's behind random keys."""

    def params_for(self, problem: Problem) -> Any:
        """Returns the default settings for the problem of a round."""

    def init(
        self, key: jax.Array, population: Choices, objectives_PM: jax.Array, params: Any
    ) -> Any:
        """Starts from an evaluated first generation."""

    def ask(self, key: jax.Array, state: Any, params: Any) -> tuple[Choices, Any]:
        """Returns P new choices."""

    def tell(
        self,
        key: jax.Array,
        population: Choices,
        objectives_PM: jax.Array,
        state: Any,
        params: Any,
    ) -> tuple[Any, dict[str, jax.Array]]:
        """Learns from evaluated choices."""

    def elites(self, state: Any) -> Choices:
        """Returns the choices among which the front is."""


def make_search(
    algorithm_type: Callable[[int, int, int], Algorithm],
    *,
    population: int,
    generations: int,
    pick: str,
    pick_value: float,
) -> Select:
    """Makes a selector that searches for the front.

    Args:
      algorithm_type: (P, K, L) -> the search.
      population: P.
      generations: how often the population is renewed.
      pick: a key of `selector.PICKS`.
      pick_value: what that pick is told.

    Returns:
      A jitted `Select`.
    """

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        algorithm = algorithm_type(population, *problem.scores_KL.shape)
        key_seed, key_run = jax.random.split(key)
        first = seeds.population(key_seed, problem, population, seeds_PKL)
        return evolve(algorithm, key_run, problem, first, generations).words_PKW

    return selector.make_select(find, pick=pick, pick_value=pick_value)


def evolve(
    algorithm: Algorithm, key: jax.Array, problem: Problem, first: Choices, generations: int
) -> Choices:
    """Lets an algorithm ask and be told.

    Args:
      algorithm: of the shapes of the problem.
      key: of all its draws.
      problem: of this round.
      first: the first generation.
      generations: how often the population is renewed.

    Returns:
      The choices among which the front is.
    """
    params = algorithm.params_for(problem)
    key_init, key_run = jax.random.split(key)
    state = algorithm.init(key_init, first, first.objectives(), params)

    def generation(state: Any, keys: jax.Array) -> tuple[Any, None]:
        key_ask, key_tell = keys
        population, state = algorithm.ask(key_ask, state, params)
        state, _ = algorithm.tell(key_tell, population, population.objectives(), state, params)
        return state, None

    state, _ = jax.lax.scan(generation, state, jax.random.split(key_run, (generations, 2)))
    return algorithm.elites(state)
