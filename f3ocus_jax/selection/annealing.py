"""Simulated annealing over choices of layers: cooling chains and an archive of the front.

S. Kirkpatrick, C. D. Gelatt, M. P. Vecchi: Optimization by simulated annealing. Science 220,
1983; for several objectives S. Bandyopadhyay, S. Saha, U. Maulik, K. Deb: A simulated
annealing-based multiobjective optimization algorithm: AMOSA. IEEE Transactions on Evolutionary
Computation 12(3), 2008. As there: a new choice that nothing dominates is always accepted; a
dominated one with probability 1 / (1 + exp(Δ / T)), where Δ is its mean amount of domination by
the current choice and the archive; T falls geometrically.

Differences: P chains run side by side; a chain perturbs its choice by one heat-bath step for each
of the J clients of the generation (a swap drawn at temperature T, judged at the trade-off at which
the chain stands); a chain that was rejected continues from an uncrowded archive member with
probability `restart`, where AMOSA moves on to the least dominating member; the archive is thinned
by crowding instead of clustering.
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
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.metaheuristic import Metaheuristic


@struct.dataclass
class State(metaheuristic.State):
    """P chains between two steps.

    Attributes:
      current: Current choices of the P chains.
      objectives_PM: float32, objectives of `current`, minimised.
    """

    current: Choices
    objectives_PM: jax.Array


@struct.dataclass
class Params(metaheuristic.Params):
    """Settings of the chains.

    Attributes:
      temperature: Initial temperature, as a fraction of the objectives' extent; in a swap, as a
        fraction of a client's mean loss of importance between the front's ends.
      cooling: Factor on the temperature per generation.
      restart: Probability that a rejected chain continues from the archive.
      jitter: Largest change of a chain's trade-off weight, drawn uniformly.
    """

    temperature: float
    cooling: float
    restart: float
    jitter: float


class Annealing(Metaheuristic):
    """Archived multi-objective simulated annealing over choices of layers."""

    @property
    def _default_params(self) -> Params:
        problem = super()._default_params.problem
        return Params(problem, temperature=0.1, cooling=0.9, restart=0.5, jitter=0.2)

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        return State(
            current=population,
            objectives_PM=population.objectives(),
            archive=archive_lib.make_archive(population),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        size, start = self.population_size, self._block_start(state.generation_counter)
        key_jitter, key_noise = jax.random.split(key)
        jitter_P = jax.random.uniform(key_jitter, (size,))
        archive = state.archive
        weights_P, extent_M = pareto.trade_offs(
            archive.objectives_PM, state.objectives_PM, archive.valid_P
        )
        weights_P += params.jitter * (2.0 * jitter_P - 1.0)
        prices_P = local_search.prices(weights_P, extent_M, self.layers)
        heat = extent_M[0] / self.clients * self._temperature(state, params)
        bias_JLP = heat * local_search.shared_gumbel(key_noise, self.visits, self.layers, size)
        block = self._unpack(state.current, start, params.problem)
        block = local_search.climb(block, prices_P, bias_JLP=bias_JLP)
        return self._write_back(state.current, start, block, params.problem, prices_P), state

    def _temperature(self, state: State, params: Params) -> jax.Array:
        return params.temperature * params.cooling**state.generation_counter

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        size = self.population_size
        accept_P, restart_P, member_P = local_search.uniforms(key, (size,), (size,), (size,))
        domination_P = self._domination(fitness, state)
        odds_P = jax.nn.sigmoid(-domination_P / self._temperature(state, params))
        accepted_P = (domination_P == 0) | (accept_P < odds_P)
        restarted_P = ~accepted_P & (restart_P < params.restart)
        archive = archive_lib.merge(state.archive, population, fitness)
        members_P = archive_lib.draw(member_P, archive, fraction=0.5)
        index_P = jnp.where(accepted_P, size, 0) + jnp.arange(size)
        index_P = jnp.where(restarted_P, 2 * size + members_P, index_P)
        pool = choices_lib.concatenate(state.current, population, archive.choices)
        current = choices_lib.take(pool, index_P)
        return dataclasses.replace(
            state, current=current, objectives_PM=current.objectives(), archive=archive
        )

    def _domination(self, fitness: jax.Array, state: State) -> jax.Array:
        """Returns each new choice's mean amount of domination, 0 where nothing dominates it."""
        archive = state.archive
        _, extent_M = pareto.scaled(archive.objectives_PM, archive.valid_P)
        by_archive_QP = amounts(archive.objectives_PM[:, None], fitness[None], extent_M)
        by_archive_QP = jnp.where(archive.valid_P[:, None], by_archive_QP, 0.0)
        by_current_P = amounts(state.objectives_PM, fitness, extent_M)
        total_P = jnp.sum(by_archive_QP, axis=0) + by_current_P
        rivals_P = jnp.sum(by_archive_QP > 0, axis=0) + (by_current_P > 0)
        return total_P / jnp.maximum(rivals_P, 1)


def amounts(rivals_M: jax.Array, points_M: jax.Array, extent_M: jax.Array) -> jax.Array:
    """Measures how far rivals dominate points (AMOSA, section III-B).

    Args:
      rivals_M: float32 [..., 2], minimised.
      points_M: float32 [..., 2], minimised.
      extent_M: float32 [2], unit of each objective.

    Returns:
      float32 [...], the product of the gaps that are not 0; 0 where a rival does not dominate.
    """
    gaps_M = jnp.abs(rivals_M - points_M)
    first, second = (gaps_M[..., m] / extent_M[m] for m in range(2))
    product = jnp.where(first > 0, first, 1.0) * jnp.where(second > 0, second, 1.0)
    return jnp.where(pareto.dominates(rivals_M, points_M), product, 0.0)
