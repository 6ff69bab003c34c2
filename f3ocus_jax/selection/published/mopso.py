"""Multi-objective particle swarm optimisation as published, over positions of K × L reals.

C. A. Coello Coello, G. Toscano Pulido, M. Salazar Lechuga: Handling multiple objectives with
particle swarm optimization. IEEE Transactions on Evolutionary Computation 8(3), 2004.

As published: v ← 0.4 v + r₁ (p − x) + r₂ (h − x) with p the particle's own best position, h its
leader and r₁, r₂ uniform in [0, 1]; at a boundary the position stays there and the velocity turns
round; a repository over an adaptive grid of 30 × 30 cells, from which a leader's cell is drawn with
odds 10 / (its members) and then a member, and which loses members of the fullest cells where it
overflows; mutation of one coordinate with a probability and a range (1 − t)^(5 / 0.5), t the
fraction of generations that have passed; a particle's best gives way to a position that dominates
it and, by a coin, to one that it does not dominate.
Adapted: a position in [0, 1] decodes by the clients' largest coordinates (`feasible.py`); r₁ and
r₂ are drawn per coordinate; the grid is laid anew over the repository in every generation.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import pareto
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.published import algorithm, feasible
from f3ocus_jax.selection.published.algorithm import PublishedMetaheuristic

DIVISIONS = 30
"""Number of the grid's cells along each objective."""


@struct.dataclass
class Repository:
    """Front so far, at most P positions.

    Attributes:
      keys_PKL: float32 in [0, 1], positions.
      objectives_PM: float32, minimised.
      valid_P: bool, slots in use.
      cells_P: int32, number of members in each member's cell of the grid.
    """

    keys_PKL: jax.Array
    objectives_PM: jax.Array
    valid_P: jax.Array
    cells_P: jax.Array


@struct.dataclass
class State:
    """A swarm between two generations.

    Attributes:
      position_PKL: float32 in [0, 1].
      velocity_PKL: float32.
      best_PKL: float32, each particle's best position so far.
      best_PM: float32, objectives of the best positions, minimised.
      repository: The front so far.
      generation_counter: int32, number of generations so far.
    """

    position_PKL: jax.Array
    velocity_PKL: jax.Array
    best_PKL: jax.Array
    best_PM: jax.Array
    repository: Repository
    generation_counter: jax.Array


@struct.dataclass
class Params(algorithm.Params):
    """Settings of the swarm.

    Attributes:
      inertia: Fraction of the velocity that is kept.
      mutation_rate: Larger values let mutation fade later.
    """

    inertia: float
    mutation_rate: float


class PublishedMOPSO(PublishedMetaheuristic):
    """A particle swarm with a repository over an adaptive grid."""

    @property
    def _default_params(self) -> Params:
        base = super()._default_params
        return Params(base.problem, base.generations, inertia=0.4, mutation_rate=0.5)

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        key_position, key_keep = jax.random.split(key)
        position_PKL = feasible.random_position(key_position, population, self.layers)
        objectives_PM = population.objectives()
        return State(
            position_PKL=position_PKL,
            velocity_PKL=jnp.zeros_like(position_PKL),
            best_PKL=position_PKL,
            best_PM=objectives_PM,
            repository=keep(key_keep, position_PKL, objectives_PM, self.population_size),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        key_leader, key_own, key_lead, key_mutate = jax.random.split(key, 4)
        shape, old_PKL = state.position_PKL.shape, state.position_PKL
        leaders_PKL = state.repository.keys_PKL[self._leaders(key_leader, state.repository)]
        velocity_PKL = params.inertia * state.velocity_PKL
        velocity_PKL += jax.random.uniform(key_own, shape) * (state.best_PKL - old_PKL)
        velocity_PKL += jax.random.uniform(key_lead, shape) * (leaders_PKL - old_PKL)
        new_PKL = old_PKL + velocity_PKL
        outside_PKL = (new_PKL < 0.0) | (new_PKL > 1.0)
        velocity_PKL = jnp.where(outside_PKL, -velocity_PKL, velocity_PKL)
        passed = state.generation_counter / params.generations
        scale = jnp.maximum(1.0 - passed, 0.0) ** (5.0 / params.mutation_rate)
        position_PKL = mutate(key_mutate, jnp.clip(new_PKL, 0.0, 1.0), scale)
        choices = feasible.repair(params.problem, position_PKL)
        return choices, dataclasses.replace(
            state, position_PKL=position_PKL, velocity_PKL=velocity_PKL
        )

    def _leaders(self, key: jax.Array, repository: Repository) -> jax.Array:
        """Draws a member per particle: a cell with odds 1 / (its members), then one of them."""
        odds_P = -2.0 * jnp.log(repository.cells_P.astype(jnp.float32))
        odds_P = jnp.where(repository.valid_P, odds_P, -jnp.inf)
        return jax.random.categorical(key, odds_P, shape=(self.population_size,))

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        key_coin, key_keep = jax.random.split(key)
        coin_P = jax.random.bernoulli(key_coin, 0.5, (self.population_size,))
        better_P = pareto.dominates(fitness, state.best_PM)
        better_P |= coin_P & ~pareto.dominates(state.best_PM, fitness)
        old = state.repository
        old_PM = jnp.where(old.valid_P[:, None], old.objectives_PM, jnp.nan)
        keys_PKL = jnp.concatenate([old.keys_PKL, state.position_PKL])
        both_PM = jnp.concatenate([old_PM, fitness])
        return dataclasses.replace(
            state,
            best_PKL=jnp.where(better_P[:, None, None], state.position_PKL, state.best_PKL),
            best_PM=jnp.where(better_P[:, None], fitness, state.best_PM),
            repository=keep(key_keep, keys_PKL, both_PM, self.population_size),
        )


def keep(key: jax.Array, keys_PKL: jax.Array, objectives_PM: jax.Array, size: int) -> Repository:
    """Keeps the front of some positions, thinned where its cells are fullest.

    Args:
      key: Random key.
      keys_PKL: float32, positions.
      objectives_PM: float32, minimised; rows that hold a NaN are dropped.
      size: Number of positions to keep at most.

    Returns:
      Repository. To remove random members of the fullest cell until the rest fits is to keep those
      that come first in their cells, if these are in random order.
    """
    rows, cells = len(objectives_PM), DIVISIONS**2
    front_P = pareto.front(objectives_PM)
    scaled_PM, _ = pareto.scaled(objectives_PM, front_P)
    inside_PM = jnp.where(front_P[:, None], scaled_PM * DIVISIONS, 0.0)
    index_PM = jnp.clip(inside_PM.astype(jnp.int32), 0, DIVISIONS - 1)
    cell_P = jnp.where(front_P, index_PM[:, 0] * DIVISIONS + index_PM[:, 1], cells)
    random_P = jax.random.uniform(key, (rows,))
    order_P = pareto.order(cell_P, random_P)
    every_P, sorted_P = jnp.arange(rows), cell_P[order_P]
    starts_P = jnp.concatenate([jnp.array([True]), sorted_P[1:] != sorted_P[:-1]])
    within_P = every_P - jax.lax.cummax(jnp.where(starts_P, every_P, 0))
    within_P = jnp.zeros(rows, jnp.int32).at[order_P].set(within_P.astype(jnp.int32))
    kept_P = pareto.order(jnp.where(front_P, within_P, rows), random_P)[:size]
    valid_P = front_P[kept_P]
    members_C = jnp.zeros(cells + 1, jnp.int32).at[cell_P[kept_P]].add(1)
    return Repository(keys_PKL[kept_P], objectives_PM[kept_P], valid_P, members_C[cell_P[kept_P]])


def mutate(key: jax.Array, position_PKL: jax.Array, scale: jax.Array) -> jax.Array:
    """Draws one coordinate of some particles anew, at most `scale` away.

    Args:
      key: Random key.
      position_PKL: float32 in [0, 1].
      scale: float32 in [0, 1], the probability that a particle mutates, and the range.

    Returns:
      float32 [P, K, L] in [0, 1].
    """
    key_flip, key_coordinate, key_value = jax.random.split(key, 3)
    size, every_P = len(position_PKL), jnp.arange(len(position_PKL))
    position_PV = position_PKL.reshape(size, -1)
    coordinate_P = jax.random.randint(key_coordinate, (size,), 0, position_PV.shape[1])
    old_P = position_PV[every_P, coordinate_P]
    low_P, high_P = jnp.maximum(old_P - scale, 0.0), jnp.minimum(old_P + scale, 1.0)
    drawn_P = low_P + jax.random.uniform(key_value, (size,)) * (high_P - low_P)
    mutates_P = jax.random.uniform(key_flip, (size,)) < scale
    new_P = jnp.where(mutates_P, drawn_P, old_P)
    return position_PV.at[every_P, coordinate_P].set(new_P).reshape(position_PKL.shape)
