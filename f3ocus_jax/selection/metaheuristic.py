"""Base class of the metaheuristics: an evosax algorithm with two objectives and packed choices.

evosax's own `init`, `ask` and `tell` ravel every solution into one float vector and compare
scalars. Here a solution is a row of `Choices` and its fitness a row of objectives_PM, so the
three are overridden; what a subclass writes is evosax's `_default_params`, `_init`, `_ask` and
`_tell`.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, sharing
from f3ocus_jax.selection.archive import Archive
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.evosax_parts import Params as BaseParams, PopulationBasedAlgorithm
from f3ocus_jax.selection.local_search import Block
from f3ocus_jax.selection.problem import Costs, Limits, Problem

COUNTED = 512
"""Clients × layers up to which every new choice is counted afresh, so that equal choices have
equal objectives; beyond it their importance holds the rounding errors of the changes so far."""


@struct.dataclass
class Params(BaseParams):
    """Parameters that change between rounds without recompiling.

    Attributes:
      problem: Scores, budgets and limits of the round.
    """

    problem: Problem


@struct.dataclass
class State:
    """Common state of the metaheuristics with an archive.

    Attributes:
      archive: Archive of the front so far.
      generation_counter: int32, number of generations so far.
    """

    archive: Archive
    generation_counter: jax.Array


class Metaheuristic(PopulationBasedAlgorithm):
    """An evosax algorithm for choosing layers, told two objectives instead of one fitness."""

    def __init__(self, population_size: int, clients: int, layers: int) -> None:
        """Fixes the shapes.

        Args:
          population_size: P.
          clients: K.
          layers: L.
        """
        with jax.ensure_compile_time_eval():
            words_KW = jnp.zeros((clients, choices_lib.num_words(layers)), jnp.uint32)
            template = Choices(words_KW, jnp.zeros(layers, jnp.int32), jnp.float32(0))
            super().__init__(population_size, template)
        self.clients, self.layers = clients, layers
        self.visits = min(clients, max(8, -(-clients // 25)))

    @property
    def _default_params(self) -> Params:
        scores_KL = jnp.zeros((self.clients, self.layers))
        return Params(Problem(scores_KL, jnp.ones(self.clients, jnp.int32)))

    @functools.partial(jax.jit, static_argnames=("self",))
    def init(
        self, key: jax.Array, population: Choices, objectives_PM: jax.Array, params: Any
    ) -> Any:
        """Initialises the state from an evaluated first generation."""
        del objectives_PM
        return self._init(key, population, params)

    @functools.partial(jax.jit, static_argnames=("self",))
    def ask(self, key: jax.Array, state: Any, params: Any) -> tuple[Choices, Any]:
        """Returns P new choices, each within its clients' budgets."""
        choices, state = self._ask(key, state, params)
        if self.clients * self.layers <= COUNTED:
            choices = choices_lib.from_words(choices.words_PKW, params.problem.scores_KL)
        return choices, state

    @functools.partial(jax.jit, static_argnames=("self",))
    def tell(
        self,
        key: jax.Array,
        population: Choices,
        objectives_PM: jax.Array,
        state: Any,
        params: Any,
    ) -> tuple[Any, dict[str, jax.Array]]:
        """Updates the state with evaluated choices."""
        state = self._tell(key, population, objectives_PM, state, params)
        counter = state.generation_counter + 1
        return dataclasses.replace(state, generation_counter=counter), {}

    def params_for(self, problem: Problem, generations: int) -> Any:
        """Returns the default settings for the problem of a round."""
        del generations
        return dataclasses.replace(self.default_params, problem=problem)

    def _init(self, key: jax.Array, population: Choices, params: Any) -> Any:
        raise NotImplementedError

    def _block_start(self, generation: jax.Array) -> jax.Array:
        """Returns the first of the J clients that this generation changes."""
        blocks = -(-self.clients // self.visits)
        return jnp.minimum(generation % blocks * self.visits, self.clients - self.visits)

    def _unpack(self, choices: Choices, start: jax.Array, problem: Problem) -> Block:
        """Unpacks the rows of the J clients from `start` on."""
        rows_JLP = self._rows(choices, start)
        scores_JL = jax.lax.dynamic_slice_in_dim(problem.scores_KL, start, self.visits)
        limits = self._limits(problem.limits, start)
        return Block(rows_JLP, scores_JL, choices.histogram_PL.T, choices.importance_P, limits)

    def _limits(self, limits: Limits | None, start: jax.Array) -> Limits | None:
        """Returns the limits of the J clients from `start` on.

        Half of the choices may break the number of sharers, and are repaired as they are written
        back; in the others, clients swap among layers that enough of them share.
        """
        if limits is None:
            return None

        def cut(leaf_K: jax.Array) -> jax.Array:
            return jax.lax.dynamic_slice_in_dim(leaf_K, start, self.visits)

        costs = limits.costs
        if costs is not None:
            costs = Costs(costs.costs_L, cut(costs.capacity_K))
        sharers_P = limits.sharers
        if sharers_P is not None:
            every_P = jnp.arange(self.population_size)
            sharers_P = jnp.where(every_P % 2 == 0, 0, sharers_P)
        masks_KL = cut(limits.allowed_KL), cut(limits.start_KL)
        return Limits(*masks_KL, limits.bounds, costs, sharers_P)

    def _rows(
        self, choices: Choices, start: jax.Array, index_P: jax.Array | None = None
    ) -> jax.Array:
        """Returns the picks of J clients from `start` on, in all or some choices: [J, L, P]."""
        words_PJW = jax.lax.dynamic_slice_in_dim(choices.words_PKW, start, self.visits, axis=1)
        words_PJW = words_PJW if index_P is None else words_PJW[index_P]
        return choices_lib.unpack(jnp.moveaxis(words_PJW, 0, -1), self.layers, axis=1)

    def _write_back(
        self,
        choices: Choices,
        start: jax.Array,
        block: Block,
        problem: Problem,
        prices_P: jax.Array,
    ) -> Choices:
        """Writes a block's rows and totals back into the choices, and repairs what few share."""
        words_PJW = jnp.moveaxis(choices_lib.pack(block.rows_JLP, axis=1), -1, 0)
        words_PKW = jax.lax.dynamic_update_slice_in_dim(choices.words_PKW, words_PJW, start, axis=1)
        changed = Choices(words_PKW, block.histogram_LP.T, block.importance_P)
        return sharing.repair_choices(problem, changed, choices, prices_P)
