"""Search loop: seeds, one scan over the generations, and a pick from the front."""

from collections.abc import Callable
from typing import Any, Protocol

import jax

from f3ocus_jax.selection import seeds, selector
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select, SelectorOptions


class Algorithm(Protocol):
    """Interface of a search: a metaheuristic of this package, or evosax's with random keys."""

    def params_for(self, problem: Problem) -> Any:
        """Returns the default settings for the problem of a round."""

    def init(
        self, key: jax.Array, population: Choices, objectives_PM: jax.Array, params: Any
    ) -> Any:
        """Initialises the state from an evaluated first generation."""

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
        """Updates the state with evaluated choices."""

    def elites(self, state: Any) -> Choices:
        """Returns choices that include the front."""


def make_search(
    make_algorithm: Callable[[int, int, int], Algorithm], options: SelectorOptions
) -> Select:
    """Makes a selector that searches for the front.

    Args:
      make_algorithm: Function from (P, K, L) to the algorithm.
      options: Options of the selector.

    Returns:
      A jitted `Select`.
    """

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        algorithm = make_algorithm(options.population, *problem.scores_KL.shape)
        key_seed, key_run = jax.random.split(key)
        first = seeds.population(key_seed, problem, options.population, seeds_PKL)
        return evolve(algorithm, key_run, problem, first, options.generations).words_PKW

    return selector.make_select(find, options)


def evolve(
    algorithm: Algorithm, key: jax.Array, problem: Problem, first: Choices, generations: int
) -> Choices:
    """Runs the generations of an algorithm.

    Args:
      algorithm: Algorithm made for the shapes of the problem.
      key: Random key.
      problem: Problem of this round.
      first: First generation.
      generations: Number of generations.

    Returns:
      Choices that include the front.
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
