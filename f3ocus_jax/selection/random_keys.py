"""How can any evosax algorithm choose layers? Random keys for solutions, places for fitness.

A solution is one number per client and layer, and a client picks the layers of its largest
numbers (J. C. Bean: Genetic algorithms and random keys for sequencing and optimization. ORSA
Journal on Computing 6(2), 1994), so that every solution is within the budgets. The algorithm is
told, as its scalar fitness, a solution's place by non-dominated rank and crowding. Places of
different generations do not compare: whatever the algorithm remembers is placed anew together
with the new solutions.
"""

import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import evosax.algorithms
import jax
import jax.numpy as jnp
from evosax.algorithms import population_based_algorithms

from f3ocus_jax.selection import (
    archive as archive_lib,
    choices as choices_lib,
    pareto,
    problem as problem_lib,
    seeds,
)
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem

ALGORITHMS = {
    name: algorithm
    for name, algorithm in evosax.algorithms.algorithms.items()
    # The first two keep several populations at once; the last wants a sampler of its own.
    if name not in ("SV_CMA_ES", "SV_Open_ES", "RandomSearch")
}

MEMORIES = {
    "fitness": ("population", "mean"),
    "fitness_best": ("population_best",),
    "best_fitness_shaped": ("best_solution_shaped",),
}
"""Names of remembered fitness in evosax's states, and of the solutions that it may belong to."""

SPREAD = 2.0
"""Key of a layer that is picked; evosax's algorithms change keys by steps of about 1."""


def evolve(
    name: str,
    key: jax.Array,
    problem: Problem,
    seeds_PKL: jax.Array,
    population: int,
    generations: int,
) -> Choices:
    """Runs an evosax algorithm from the seeds.

    Args:
      name: a key of `ALGORITHMS`.
      key: of all draws.
      problem: of this round.
      seeds_PKL: bool, choices to start from; all-False ones are not in use.
      population: P.
      generations: how often the population is renewed.

    Returns:
      The choices among which the front is.
    """
    with jax.ensure_compile_time_eval():
        algorithm = ALGORITHMS[name](population, jnp.zeros(problem.scores_KL.shape))
        params = algorithm.default_params
    key_seed, key_noise, key_init, key_run = jax.random.split(key, 4)
    first = seeds.population(key_seed, problem, population, seeds_PKL)
    archive = archive_lib.create(first)
    keys_PKL = SPREAD * (2.0 * choices_lib.unpack(first.words_PKW, problem.scores_KL.shape[1]) - 1)
    keys_PKL += jax.random.normal(key_noise, keys_PKL.shape)
    start: tuple[jax.Array, ...] = (keys_PKL, _places(first.objectives()))
    # The other family starts from a single solution, here the clients' own choice.
    start = start if name in population_based_algorithms else (keys_PKL[0],)
    with _evosax_ranks():
        state = algorithm.init(key_init, *start, params)

    def generation(carry: tuple[Any, Any], key: jax.Array) -> tuple[tuple[Any, Any], None]:
        state, archive = carry
        key_ask, key_tell = jax.random.split(key)
        with _evosax_ranks():
            keys_PKL, state = algorithm.ask(key_ask, state, params)
        choices = decode(keys_PKL, problem)
        objectives_PM = choices.objectives()
        state, places_P = _place_anew(state, objectives_PM, problem)
        with _evosax_ranks():
            state, _ = algorithm.tell(key_tell, keys_PKL, places_P, state, params)
        return (state, archive_lib.merge(archive, choices, objectives_PM)), None

    carry, _ = jax.lax.scan(generation, (state, archive), jax.random.split(key_run, generations))
    return carry[1].choices


def decode(keys_PKL: jax.Array, problem: Problem) -> Choices:
    """Lets every client pick the layers of its largest keys.

    Args:
      keys_PKL: float32; a NaN comes last.
      problem: whose budgets to keep.

    Returns:
      P choices; the importance of one that breaks a bound of the server's is NaN, which never
      ranks.
    """

    def pick(keys_KL: jax.Array) -> jax.Array:
        keyed = dataclasses.replace(problem, scores_KL=jnp.nan_to_num(keys_KL, nan=-jnp.inf))
        return choices_lib.pack(problem_lib.own_choice(keyed))

    choices = choices_lib.from_words(jax.lax.map(pick, keys_PKL), problem.scores_KL)
    kept_P = problem_lib.in_bounds(problem.limits, choices.histogram_PL)
    importance_P = jnp.where(kept_P, choices.importance_P, jnp.nan)
    return dataclasses.replace(choices, importance_P=importance_P)


def _evosax_ranks() -> AbstractContextManager[object]:
    """Lets evosax add vectors to matrices where this project's own code may not."""
    return jax.numpy_rank_promotion("allow")


def _places(objectives_PM: jax.Array) -> jax.Array:
    size = len(objectives_PM)
    order_P, _, _ = pareto.best(objectives_PM, size)
    return jnp.zeros(size).at[order_P].set(jnp.arange(size, dtype=jnp.float32))


def _place_anew(state: Any, objectives_PM: jax.Array, problem: Problem) -> tuple[Any, jax.Array]:
    """Places new and remembered solutions together; puts the latter's places into the state."""
    parts_PM = [objectives_PM]
    remembered = []
    for fitness, solutions in MEMORIES.items():
        if not hasattr(state, fitness):
            continue
        flat = next(getattr(state, field) for field in solutions if hasattr(state, field))
        keys_PKL = flat.reshape(-1, *problem.scores_KL.shape)
        remembered.append((fitness, len(keys_PKL)))
        parts_PM.append(decode(keys_PKL, problem).objectives())
    places_P = _places(jnp.concatenate(parts_PM))
    start = len(objectives_PM)
    for fitness, size in remembered:
        old = jnp.asarray(getattr(state, fitness))
        placed = places_P[start : start + size].reshape(old.shape)
        # Infinite means that nothing is remembered yet.
        state = state.replace(**{fitness: jnp.where(jnp.isfinite(old), placed, old)})
        start += size
    return state, places_P[: len(objectives_PM)]
