"""Artificial bee colony over choices of layers: employed bees, onlookers and scouts.

D. Karaboga: An idea based on honey bee swarm for numerical optimization. Erciyes University,
TR06, 2005; for several objectives R. Akbari, R. Hedayatzadeh, K. Ziarati, B. Hassanizadeh: A
multi-objective artificial bee colony algorithm. Swarm and Evolutionary Computation 2, 2012. As
there: half of the colony are employed bees, one per food source, half are onlookers who choose
among the sources by quality; a bee changes a source towards another one, and a change for the
better is kept; a source not improved `limit` times in a row is abandoned to a scout; an archive
holds the front and guides the bees.

Differences: to change a source is to take clients' rows from a member of the archive, and then
each client's best swap; a change is for the better if it dominates the source or joins the front;
quality is how few members of the archive dominate a source, and onlookers hold tournaments over
it; a scout starts from an uncrowded archive member instead of a random choice.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import (
    archive as archive_lib,
    choices as choices_lib,
    local_search,
    metaheuristic,
    pareto,
)
from f3ocus_jax.selection.archive import Archive
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.metaheuristic import Metaheuristic


@struct.dataclass
class State(metaheuristic.State):
    """A colony between two generations; F = ⌈P / 2⌉ food sources.

    Attributes:
      sources: F choices, the food sources.
      objectives_FM: float32, objectives of the sources, minimised.
      trials_F: int32, number of consecutive trials without an improvement of each source.
      visited_P: int32, index of the source that each bee changed last.
    """

    sources: Choices
    objectives_FM: jax.Array
    trials_F: jax.Array
    visited_P: jax.Array


@struct.dataclass
class Params(metaheuristic.Params):
    """Settings of the colony.

    Attributes:
      exchange_rate: Fraction of bees that take rows from an archive member.
      jitter: Largest change of a bee's trade-off weight, drawn uniformly.
      limit: Number of trials after which a source is abandoned.
    """

    exchange_rate: float
    jitter: float
    limit: int


class BeeColony(Metaheuristic):
    """A multi-objective artificial bee colony over choices of layers."""

    @property
    def _default_params(self) -> Params:
        return Params(super()._default_params.problem, exchange_rate=0.5, jitter=0.2, limit=5)

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        index_F = jnp.arange(0, self.population_size, 2)
        sources = choices_lib.take(population, index_F)
        return State(
            sources=sources,
            objectives_FM=sources.objectives(),
            trials_F=jnp.zeros(len(index_F), jnp.int32),
            visited_P=jnp.zeros(self.population_size, jnp.int32),
            archive=archive_lib.make_archive(population),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        size, start = self.population_size, self._block_start(state.generation_counter)
        onlookers = size - len(state.trials_F)
        rival_2O, guide_P, exchange_P, row_JP, jitter_P = local_search.uniforms(
            key, (2, onlookers), (size,), (size,), (self.visits, size), (size,)
        )
        visited_P = self._visits(rival_2O, state)
        bees = choices_lib.take(state.sources, visited_P)
        block = self._unpack(bees, start, params.problem)
        guides_P = archive_lib.draw(guide_P, state.archive)
        guides_JLP = self._rows(state.archive.choices, start, guides_P)
        swap_JP = (row_JP < 0.5) & (exchange_P < params.exchange_rate)[None]
        rows_JLP = jnp.where(swap_JP[:, None], guides_JLP, block.rows_JLP)
        weights_P, extent_M = pareto.trade_offs(
            state.archive.objectives_PM, state.objectives_FM[visited_P], state.archive.valid_P
        )
        weights_P += params.jitter * (2.0 * jitter_P - 1.0)
        prices_P = local_search.prices(weights_P, extent_M, self.layers)
        block = local_search.climb(block, prices_P, rows_JLP=rows_JLP)
        bees = self._write_back(bees, start, block, params.problem, prices_P)
        return bees, dataclasses.replace(state, visited_P=visited_P)

    def _visits(self, rival_2O: jax.Array, state: State) -> jax.Array:
        """Sends employed bees to their own sources, onlookers to the winners of tournaments."""
        sources = len(state.trials_F)
        first_O, second_O = (rival_2O * sources).astype(jnp.int32)
        beaten_F = self._beaten(state.objectives_FM, state.archive)
        better_O = beaten_F[first_O] <= beaten_F[second_O]
        return jnp.concatenate([jnp.arange(sources), jnp.where(better_O, first_O, second_O)])

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        archive = archive_lib.merge(state.archive, population, fitness)
        sources = len(state.trials_F)
        bees_F, improved_F = self._best_bees(fitness, state, archive)
        trials_F = jnp.where(improved_F, 0, state.trials_F + 1)
        abandoned_F = trials_F > params.limit
        scouts_F = archive_lib.draw(jax.random.uniform(key, (sources,)), archive, fraction=0.5)
        index_F = jnp.where(improved_F, sources + bees_F, jnp.arange(sources))
        index_F = jnp.where(abandoned_F, sources + len(fitness) + scouts_F, index_F)
        pool = choices_lib.concatenate(state.sources, population, archive.choices)
        kept = choices_lib.take(pool, index_F)
        return dataclasses.replace(
            state,
            sources=kept,
            objectives_FM=kept.objectives(),
            trials_F=jnp.where(abandoned_F, 0, trials_F),
            archive=archive,
        )

    def _best_bees(
        self, fitness: jax.Array, state: State, archive: Archive
    ) -> tuple[jax.Array, jax.Array]:
        """Returns, for every source, the bee that improved it most, and True where one did."""
        before_PM = state.objectives_FM[state.visited_P]
        changed_P = jnp.any(before_PM != fitness, axis=-1)
        on_front_P = self._beaten(fitness, archive) == 0
        gain_P = 2.0 * pareto.dominates(fitness, before_PM) + on_front_P
        gain_P = jnp.where(changed_P, gain_P, 0.0)
        own_bees_PF = state.visited_P[:, None] == jnp.arange(len(state.trials_F))[None]
        bees_F, least_F = pareto.first_smallest(jnp.where(own_bees_PF, -gain_P[:, None], 0.0))
        return bees_F, least_F < 0

    def _beaten(self, objectives_FM: jax.Array, archive: Archive) -> jax.Array:
        """Counts the archive members that dominate each choice; fewer is better."""
        beats_PF = pareto.dominates(archive.objectives_PM[:, None], objectives_FM[None])
        return jnp.sum(beats_PF & archive.valid_P[:, None], axis=0)
