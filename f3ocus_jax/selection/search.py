"""How is a metaheuristic run? Seeds, one scan over the generations, and a pick from its front."""

from collections.abc import Callable
from typing import Any

import jax

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib, seeds
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.metaheuristic import Metaheuristic
from f3ocus_jax.selection.problem import Limits, Problem
from f3ocus_jax.selection.selector import Select, Selection, answer

Evolve = Callable[[jax.Array, Problem, jax.Array, int, int], Choices]
"""(key, problem, seeds_PKL, population, generations) -> the choices among which the front is."""


def create(
    evolve: Evolve, *, population: int, generations: int, pick: str, pick_value: float
) -> Select:
    """Makes a selector that searches for the front.

    Args:
      evolve: the search.
      population: P.
      generations: how often the population is renewed.
      pick: a key of `selector.PICKS`.
      pick_value: what that pick is told.

    Returns:
      A jitted `Select`.
    """

    @jax.jit
    def select(
        key: jax.Array,
        scores_KL: jax.Array,
        budgets_K: jax.Array,
        seeds_PKL: jax.Array,
        limits: Limits | None = None,
    ) -> Selection:
        problem = problem_lib.create(scores_KL, budgets_K, limits)
        found = evolve(key, problem, seeds_PKL, population, generations)
        masks_PKL = choices_lib.unpack(found.words_PKW, scores_KL.shape[1])
        return answer(masks_PKL, problem, scores_KL, pick=pick, pick_value=pick_value)

    return select


def evolve(
    algorithm_type: type[Metaheuristic],
    key: jax.Array,
    problem: Problem,
    seeds_PKL: jax.Array,
    population: int,
    generations: int,
) -> Choices:
    """Runs a metaheuristic from its seeds.

    Args:
      algorithm_type: the metaheuristic.
      key: of all draws.
      problem: of this round.
      seeds_PKL: bool, choices to start from; all-False ones are not in use.
      population: P.
      generations: how often the population is renewed.

    Returns:
      The choices among which the front is.
    """
    algorithm = algorithm_type(population, *problem.scores_KL.shape)
    params = algorithm.params_for(problem)
    key_seed, key_init, key_run = jax.random.split(key, 3)
    first = seeds.population(key_seed, problem, population, seeds_PKL)
    state = algorithm.init(key_init, first, first.objectives(), params)

    def generation(state: Any, key: jax.Array) -> tuple[Any, None]:
        key_ask, key_tell = key
        population, state = algorithm.ask(key_ask, state, params)
        state, _ = algorithm.tell(key_tell, population, population.objectives(), state, params)
        return state, None

    state, _ = jax.lax.scan(generation, state, jax.random.split(key_run, (generations, 2)))
    return algorithm.elites(state)
