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

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import (
    archive as archive_lib,
    choices as choices_lib,
    evosax_parts,
    pareto,
    problem as problem_lib,
)
from f3ocus_jax.selection.archive import Archive
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem

ALGORITHMS = {
    name: algorithm
    for name, algorithm in evosax_parts.algorithms.items()
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


@struct.dataclass
class State:
    """An evosax algorithm between two generations, and what it was never told.

    Attributes:
      own: the algorithm's.
      keys_PKL: float32, the solutions it asked for last.
      archive: the front so far.
    """

    own: Any
    keys_PKL: jax.Array
    archive: Archive


@struct.dataclass
class Params:
    """Settings.

    Attributes:
      problem: scores and budgets of the round.
      own: the algorithm's.
    """

    problem: Problem
    own: Any


class RandomKeys:
    """A scalar evosax algorithm that searches for a front of choices; see `search.Algorithm`."""

    def __init__(self, name: str, population_size: int, clients: int, layers: int) -> None:
        """Makes the algorithm.

        Args:
          name: a key of `ALGORITHMS`.
          population_size: P.
          clients: K.
          layers: L.
        """
        with jax.ensure_compile_time_eval():
            self.algorithm = ALGORITHMS[name](population_size, jnp.zeros((clients, layers)))
            self.own_params = self.algorithm.default_params
        self.from_population = name in evosax_parts.population_based_algorithms

    def params_for(self, problem: Problem) -> Params:
        """Returns evosax's default settings for the problem of a round."""
        return Params(problem, self.own_params)

    def init(
        self, key: jax.Array, population: Choices, objectives_PM: jax.Array, params: Params
    ) -> State:
        """Turns the first generation into noisy keys; some algorithms start from its first only."""
        key_noise, key_init = jax.random.split(key)
        num_layers = params.problem.scores_KL.shape[1]
        keys_PKL = SPREAD * (2.0 * choices_lib.unpack(population.words_PKW, num_layers) - 1)
        keys_PKL += jax.random.normal(key_noise, keys_PKL.shape)
        start: tuple[jax.Array, ...] = (keys_PKL[0],)
        if self.from_population:
            start = keys_PKL, _places(objectives_PM)
        with _evosax_ranks():
            own = self.algorithm.init(key_init, *start, params.own)
        return State(own, keys_PKL, archive_lib.make_archive(population))

    def ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        """Returns P new choices."""
        with _evosax_ranks():
            keys_PKL, own = self.algorithm.ask(key, state.own, params.own)
        return decode(keys_PKL, params.problem), State(own, keys_PKL, state.archive)

    def tell(
        self,
        key: jax.Array,
        population: Choices,
        objectives_PM: jax.Array,
        state: State,
        params: Params,
    ) -> tuple[State, dict[str, jax.Array]]:
        """Tells the algorithm the places of its solutions."""
        own, places_P = _place_anew(state.own, objectives_PM, params.problem)
        with _evosax_ranks():
            own, metrics = self.algorithm.tell(key, state.keys_PKL, places_P, own, params.own)
        archive = archive_lib.merge(state.archive, population, objectives_PM)
        return State(own, state.keys_PKL, archive), metrics

    def elites(self, state: State) -> Choices:
        """Returns the choices among which the front is."""
        return state.archive.choices


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

    at_once = choices_lib.at_once(problem.scores_KL)
    words_PKW = jax.lax.map(pick, keys_PKL, batch_size=at_once)
    choices = choices_lib.from_words(words_PKW, problem.scores_KL)
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
