"""Adapter for evosax algorithms: random keys as solutions, positions in the ranking as fitness.

A solution is one number per client and layer, and a client picks the layers of its largest
numbers (J. C. Bean: Genetic algorithms and random keys for sequencing and optimization. ORSA
Journal on Computing 6(2), 1994), so that every solution is within the budgets. The scalar
fitness is a solution's position in the order by non-dominated rank and crowding. Positions of
different generations are not comparable: solutions that the algorithm remembers are ranked again
together with the new ones.
"""

import dataclasses
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import (
    choices as choices_lib,
    evosax_parts,
    pareto,
    problem as problem_lib,
    sharing,
)
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
"""Fields of remembered fitness in evosax's states, and the fields of the solutions they rate."""

LARGEST = 1e6
"""Largest size of a key that counts in a repair."""

SPREAD = 2.0
"""Key of a picked layer; evosax's algorithms change keys by steps of about 1."""


@struct.dataclass
class State:
    """State of an evosax algorithm and its last solutions.

    Attributes:
      own: State of the evosax algorithm.
      keys_PKL: float32, solutions of the last `ask`.
    """

    own: Any
    keys_PKL: jax.Array


@struct.dataclass
class Params:
    """Parameters of a round.

    Attributes:
      problem: Scores, budgets and limits of the round.
      own: Parameters of the evosax algorithm.
    """

    problem: Problem
    own: Any


class RandomKeys:
    """A scalar evosax algorithm that searches for a front of choices; see `search.Algorithm`."""

    def __init__(self, name: str, population_size: int, clients: int, layers: int) -> None:
        """Makes the algorithm.

        Args:
          name: Name of the algorithm, a key of `ALGORITHMS`.
          population_size: P.
          clients: K.
          layers: L.
        """
        with jax.ensure_compile_time_eval():
            self.algorithm = ALGORITHMS[name](population_size, jnp.zeros((clients, layers)))
            self.own_params = self.algorithm.default_params
        self.from_population = name in evosax_parts.population_based_algorithms

    def params_for(self, problem: Problem, generations: int) -> Params:
        """Returns evosax's default settings for the problem of a round."""
        del generations
        return Params(problem, self.own_params)

    def init(
        self, key: jax.Array, population: Choices, objectives_PM: jax.Array, params: Params
    ) -> State:
        """Converts the first generation to noisy keys; some algorithms use one choice of it."""
        key_noise, key_init = jax.random.split(key)
        num_layers = params.problem.scores_KL.shape[1]
        keys_PKL = SPREAD * (2.0 * choices_lib.unpack(population.words_PKW, num_layers) - 1)
        keys_PKL += jax.random.normal(key_noise, keys_PKL.shape)
        start: tuple[jax.Array, ...] = (keys_PKL[0],)
        if self.from_population:
            start = keys_PKL, _positions(objectives_PM)
        with _evosax_ranks():
            own = self.algorithm.init(key_init, *start, params.own)
        return State(own, keys_PKL)

    def ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        """Returns P new choices."""
        with _evosax_ranks():
            keys_PKL, own = self.algorithm.ask(key, state.own, params.own)
        return decode(keys_PKL, params.problem), State(own, keys_PKL)

    def tell(
        self,
        key: jax.Array,
        population: Choices,
        objectives_PM: jax.Array,
        state: State,
        params: Params,
    ) -> tuple[State, dict[str, jax.Array]]:
        """Updates the algorithm with the positions of its solutions in the ranking."""
        own, positions_P = _rank_together(state.own, objectives_PM, params.problem)
        with _evosax_ranks():
            own, metrics = self.algorithm.tell(key, state.keys_PKL, positions_P, own, params.own)
        return State(own, state.keys_PKL), metrics


def decode(keys_PKL: jax.Array, problem: Problem) -> Choices:
    """Decodes keys: every client picks the layers of its largest keys.

    Args:
      keys_PKL: float32; a NaN ranks last.
      problem: Problem with the budgets and limits.

    Returns:
      P choices, repaired where too few clients share a layer; the importance of a choice that still
      violates a limit is NaN, so that it never ranks.
    """
    words_PKW = take_largest(keys_PKL, problem)
    if problem.limits is not None and problem.limits.sharers is not None:
        masks_PKL = choices_lib.unpack(words_PKW, keys_PKL.shape[2])
        worth_PKL = jnp.clip(jnp.nan_to_num(keys_PKL, nan=-LARGEST), -LARGEST, LARGEST)
        repair = jax.vmap(sharing.repair, in_axes=(None, 0, 0, None))
        words_PKW = choices_lib.pack(repair(problem, masks_PKL, worth_PKL, 0.0)[0])
    choices = choices_lib.from_words(words_PKW, problem.scores_KL)
    kept_P = problem_lib.in_bounds(problem.limits, choices.histogram_PL)
    importance_P = jnp.where(kept_P, choices.importance_P, jnp.nan)
    return dataclasses.replace(choices, importance_P=importance_P)


def take_largest(keys_PKL: jax.Array, problem: Problem) -> jax.Array:
    """Takes the layers of every client's largest keys, within the client's own limits.

    Args:
      keys_PKL: float32; a NaN ranks last.
      problem: Problem with the budgets and limits; bounds per layer are ignored.

    Returns:
      words_PKW: uint32, choices packed by `choices.pack`.
    """

    def pick(keys_KL: jax.Array) -> jax.Array:
        keyed = dataclasses.replace(problem, scores_KL=jnp.nan_to_num(keys_KL, nan=-jnp.inf))
        return choices_lib.pack(problem_lib.own_choice(keyed))

    batch_size = choices_lib.batch_size(problem.scores_KL)
    return jax.lax.map(pick, keys_PKL, batch_size=batch_size)


def _evosax_ranks() -> AbstractContextManager[object]:
    """Allows evosax to add vectors to matrices, which this project's own code may not."""
    return jax.numpy_rank_promotion("allow")


def _positions(objectives_PM: jax.Array) -> jax.Array:
    size = len(objectives_PM)
    order_P, _, _ = pareto.best(objectives_PM, size)
    return jnp.zeros(size).at[order_P].set(jnp.arange(size, dtype=jnp.float32))


def _rank_together(state: Any, objectives_PM: jax.Array, problem: Problem) -> tuple[Any, jax.Array]:
    """Ranks new and remembered solutions together; writes the latter's positions to the state."""
    parts_PM = [objectives_PM]
    remembered = []
    for fitness, solutions in MEMORIES.items():
        if not hasattr(state, fitness):
            continue
        flat = next(getattr(state, field) for field in solutions if hasattr(state, field))
        keys_PKL = flat.reshape(-1, *problem.scores_KL.shape)
        remembered.append((fitness, len(keys_PKL)))
        parts_PM.append(decode(keys_PKL, problem).objectives())
    positions_P = _positions(jnp.concatenate(parts_PM))
    start = len(objectives_PM)
    for fitness, size in remembered:
        old = jnp.asarray(getattr(state, fitness))
        renewed = positions_P[start : start + size].reshape(old.shape)
        # Infinite means that there is no remembered solution yet.
        state = state.replace(**{fitness: jnp.where(jnp.isfinite(old), renewed, old)})
        start += size
    return state, positions_P[: len(objectives_PM)]
