"""Particle swarm over choices of layers: velocities per client and layer, leaders on the front.

C. A. Coello Coello, G. Toscano Pulido, M. Salazar Lechuga: Handling multiple objectives with
particle swarm optimization. IEEE Transactions on Evolutionary Computation 8(3), 2004; the
objectives weighed per particle as in S. Zapotecas Martínez, C. A. Coello Coello: A
multi-objective particle swarm optimizer based on decomposition. GECCO 2011. As there: a
particle's velocity is remembered in part and drawn towards the particle's own best position and
towards a leader from an external repository; the particle moves whether that is better or not;
its own best is replaced when the new position dominates it, and by chance when neither does; a
share of the swarm is disturbed.

Differences: the repository is thinned by crowding distance instead of an adaptive grid, and a
particle's leader is its best member for the particle's weights; a velocity is how much more a
layer is worth to a particle, and a particle moves by each client's best swap under it, which
keeps budgets; only the J clients of the generation move; a disturbed particle continues from its
leader's choice.
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
from f3ocus_jax.selection.local_search import Block
from f3ocus_jax.selection.metaheuristic import Metaheuristic


@struct.dataclass
class State(metaheuristic.State):
    """A swarm between two generations.

    Attributes:
      position: P choices, the particles' positions.
      velocity_KLP: bfloat16 bits in uint16, each layer's worth to a particle beyond its score, in
        units of a client's mean loss of importance between the front's ends. XLA updates uint16 in
        place on CPU, but would convert a whole bfloat16 array to float32 and back.
      best: P choices, each particle's best position so far.
      best_PM: float32, objectives of `best`, minimised.
    """

    position: Choices
    velocity_KLP: jax.Array
    best: Choices
    best_PM: jax.Array


@struct.dataclass
class Params(metaheuristic.Params):
    """Settings of the swarm.

    Attributes:
      inertia: Fraction of the velocity that is kept.
      own_pull: Largest pull towards the particle's own best position.
      leader_pull: Largest pull towards the leader.
      disturbed: Fraction of particles that continue from their leader's choice.
    """

    inertia: float
    own_pull: float
    leader_pull: float
    disturbed: float


class MOPSO(Metaheuristic):
    """Multi-objective particle swarm optimisation over choices of layers."""

    @property
    def _default_params(self) -> Params:
        problem = super()._default_params.problem
        return Params(problem, inertia=0.4, own_pull=0.1, leader_pull=0.1, disturbed=0.2)

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        shape_KLP = (self.clients, self.layers, self.population_size)
        return State(
            position=population,
            velocity_KLP=jnp.zeros(shape_KLP, jnp.uint16),
            best=population,
            best_PM=population.objectives(),
            archive=archive_lib.make_archive(population),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        size, start = self.population_size, self._block_start(state.generation_counter)
        pulls_2P, jump_P = local_search.uniforms(key, (2, size), (size,))
        archive = state.archive
        weights_P = jnp.linspace(0.0, 1.0, size)
        leaders_P, extent_M = archive_lib.best_for(archive, weights_P)
        leaders = choices_lib.take(archive.choices, leaders_P)
        disturbed_P = jump_P < params.disturbed
        position = choices_lib.where(disturbed_P, leaders, state.position)
        block, best, lead = (
            self._unpack(choices, start, params.problem)
            for choices in (position, state.best, leaders)
        )
        old_JLP = jax.lax.dynamic_slice_in_dim(state.velocity_KLP, start, self.visits)
        velocity_JLP = params.inertia * _from_bits(old_JLP)
        velocity_JLP += params.own_pull * _direction(pulls_2P[0], block, best)
        velocity_JLP += params.leader_pull * _direction(pulls_2P[1], block, lead)
        prices_P = local_search.prices(weights_P, extent_M, self.layers)
        bias_JLP = extent_M[0] / self.clients * velocity_JLP
        block = local_search.climb(block, prices_P, bias_JLP=bias_JLP)
        # The write must wait for the climb, which has read: else XLA copies all velocities in every
        # generation. No importance is NaN.
        start_late = jnp.where(jnp.isnan(block.importance_P[0]), 0, start)
        velocity_KLP = jax.lax.dynamic_update_slice_in_dim(
            state.velocity_KLP, _to_bits(velocity_JLP), start_late, axis=0
        )
        position = self._write_back(position, start, block, params.problem, prices_P)
        return position, dataclasses.replace(state, velocity_KLP=velocity_KLP)

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        coin_P = jax.random.bernoulli(key, 0.5, (self.population_size,))
        better_P = pareto.dominates(fitness, state.best_PM)
        better_P |= coin_P & ~pareto.dominates(state.best_PM, fitness)
        return dataclasses.replace(
            state,
            position=population,
            best=choices_lib.where(better_P, population, state.best),
            best_PM=jnp.where(better_P[:, None], fitness, state.best_PM),
            archive=archive_lib.merge(state.archive, population, fitness),
        )


def _direction(pull_P: jax.Array, origin: Block, target: Block) -> jax.Array:
    """Returns the direction to a target, float32 [J, L, P], times each particle's pull."""
    return pull_P[None, None] * (target.rows_JLP.astype(jnp.float32) - origin.rows_JLP)


def _to_bits(velocity: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(velocity.astype(jnp.bfloat16), jnp.uint16)


def _from_bits(bits: jax.Array) -> jax.Array:
    return jax.lax.bitcast_convert_type(bits, jnp.bfloat16).astype(jnp.float32)
