"""Artificial bee colony as published, over positions of K rows of reals.

D. Karaboga: An idea based on honey bee swarm for numerical optimization. Erciyes University,
TR06, 2005; its constants from D. Karaboga, B. Basturk: A powerful and efficient algorithm for
numerical function optimization. Journal of Global Optimization 39(3), 2007.

As published: one employed bee and one onlooker per food source; a bee changes one coordinate j of
a source to x_j + φ (x_j − y_j), with y another random source and φ uniform in [−1, 1]; onlookers
draw sources with probability fit / Σ fit, fit = 1 / (1 + f); the better of a source and its change
is kept; per cycle at most one source without success in more than SN · D trials is abandoned for
a random one, with SN sources of D coordinates.
Adapted to two objectives: f is the non-dominated rank, and better means to dominate. To choices:
a coordinate is a client's row of L keys in [0, 1], each with a φ of its own, and decodes by the
largest keys (`feasible.py`); a change of a single key mostly decodes to the same choice. To P
evaluations at a time: employed bees fly in one generation and onlookers in the next, and a
scout's random source is evaluated in place of the employed bee's change to the source that it
replaces.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import pareto
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.published import algorithm, feasible
from f3ocus_jax.selection.published.algorithm import PublishedMetaheuristic


@struct.dataclass
class State:
    """A colony between two flights; it has P food sources.

    Attributes:
      sources_PKL: float32 in [0, 1], positions of the sources.
      objectives_PM: float32, objectives of the sources, minimised.
      trials_P: int32, number of trials since each source was improved.
      changed_PKL: float32, positions of the last flight.
      visited_P: int32, source that each bee of the last flight changed.
      scout: int32, bee of the last flight that was a scout; P if there was none.
      generation_counter: int32, number of generations so far.
    """

    sources_PKL: jax.Array
    objectives_PM: jax.Array
    trials_P: jax.Array
    changed_PKL: jax.Array
    visited_P: jax.Array
    scout: jax.Array
    generation_counter: jax.Array


@struct.dataclass
class Params(algorithm.Params):
    """Settings of the colony.

    Attributes:
      limit: Number of trials after which a source is abandoned.
    """

    limit: int


class PublishedBeeColony(PublishedMetaheuristic):
    """An artificial bee colony whose employed bees and onlookers fly in turns."""

    @property
    def _default_params(self) -> Params:
        base = super()._default_params
        limit = self.population_size * self.clients
        return Params(base.problem, base.generations, limit=min(limit, 2**31 - 1))

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        positions_PKL = feasible.random_position(key, population, self.layers)
        return State(
            sources_PKL=positions_PKL,
            objectives_PM=population.objectives(),
            trials_P=jnp.zeros(self.population_size, jnp.int32),
            changed_PKL=positions_PKL,
            visited_P=jnp.arange(self.population_size),
            scout=jnp.int32(self.population_size),
            generation_counter=jnp.int32(0),
        )

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        key_visit, key_change, key_scout = jax.random.split(key, 3)
        employed = state.generation_counter % 2 == 0
        own_P = jnp.arange(self.population_size)
        visited_P = jnp.where(employed, own_P, self._onlookers(key_visit, state))
        changed_PKL = self._change(key_change, state.sources_PKL, visited_P)
        worst = jnp.argmax(state.trials_P)
        abandons = employed & (state.trials_P[worst] > params.limit)
        scout = jnp.where(abandons, worst, self.population_size)
        found_KL = jax.random.uniform(key_scout, changed_PKL.shape[1:])
        changed_PKL = changed_PKL.at[scout].set(found_KL, mode="drop")
        state = dataclasses.replace(
            state, changed_PKL=changed_PKL, visited_P=visited_P, scout=scout.astype(jnp.int32)
        )
        return feasible.repair(params.problem, changed_PKL), state

    def _onlookers(self, key: jax.Array, state: State) -> jax.Array:
        """Draws a source per onlooker, in proportion to 1 / (1 + non-dominated rank)."""
        odds_P = -jnp.log1p(pareto.ranks(state.objectives_PM).astype(jnp.float32))
        return jax.random.categorical(key, odds_P, shape=(self.population_size,))

    def _change(self, key: jax.Array, sources_PKL: jax.Array, visited_P: jax.Array) -> jax.Array:
        """Moves one client's row of each visited source towards another source, or away from it."""
        size, layers, every_P = self.population_size, self.layers, jnp.arange(self.population_size)
        key_other, key_client, key_step = jax.random.split(key, 3)
        other_P = (visited_P + jax.random.randint(key_other, (size,), 1, size)) % size
        client_P = jax.random.randint(key_client, (size,), 0, self.clients)
        old_PL = sources_PKL[visited_P, client_P]
        step_PL = jax.random.uniform(key_step, (size, layers), minval=-1.0, maxval=1.0)
        new_PL = old_PL + step_PL * (old_PL - sources_PKL[other_P, client_P])
        return sources_PKL[visited_P].at[every_P, client_P].set(jnp.clip(new_PL, 0.0, 1.0))

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        size = self.population_size
        every_P = jnp.arange(size)
        before_PM = state.objectives_PM[state.visited_P]
        better_P = pareto.dominates(fitness, before_PM) | (every_P == state.scout)
        # Of several bees that improved a source, the last.
        bee_P = jnp.full(size, -1).at[state.visited_P].max(jnp.where(better_P, every_P, -1))
        replaced_P = bee_P >= 0
        visits_P = jnp.zeros(size, jnp.int32).at[state.visited_P].add(1)
        return dataclasses.replace(
            state,
            sources_PKL=jnp.where(
                replaced_P[:, None, None], state.changed_PKL[bee_P], state.sources_PKL
            ),
            objectives_PM=jnp.where(replaced_P[:, None], fitness[bee_P], state.objectives_PM),
            trials_P=jnp.where(replaced_P, 0, state.trials_P + visits_P),
        )
