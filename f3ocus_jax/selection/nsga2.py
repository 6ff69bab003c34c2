"""NSGA-II over choices of layers: non-dominated sorting, crowding, tournaments, row crossover.

K. Deb, A. Pratap, S. Agarwal, T. Meyarivan: A fast and elitist multiobjective genetic algorithm:
NSGA-II. IEEE Transactions on Evolutionary Computation 6(2), 2002. As there: binary tournaments by
rank, then crowding; parents and children compete for P slots together.

Differences: a child takes whole client rows from its two parents, which keeps every budget; only
the J clients of the generation are recombined; mutation is a client's best swap for the trade-off
at which the child stands (Deb and Goel 2001 weigh the objectives of a local search so); equal
points count once.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, local_search, metaheuristic, pareto
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.metaheuristic import Metaheuristic


@struct.dataclass
class State:
    """NSGA-II between two generations.

    Attributes:
      population: P choices, the best first.
      objectives_PM: float32, minimised.
      ranks_P: int32, non-dominated rank.
      crowding_P: float32, crowding distance.
      generation_counter: int32, number of generations so far.
    """

    population: Choices
    objectives_PM: jax.Array
    ranks_P: jax.Array
    crowding_P: jax.Array
    generation_counter: jax.Array


@struct.dataclass
class Params(metaheuristic.Params):
    """Settings of NSGA-II.

    Attributes:
      crossover_rate: Fraction of children that take rows from a second parent.
      jitter: Largest change of a child's trade-off weight, drawn uniformly.
    """

    crossover_rate: float
    jitter: float


class Elitist(Metaheuristic):
    """Metaheuristic in which parents and children compete for P slots, as in NSGA-II."""

    def _init(self, key: jax.Array, population: Choices, params: Any) -> State:
        return self._survivors(population, population.objectives(), jnp.int32(0))

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Any
    ) -> State:
        return self._survivors(
            choices_lib.concatenate(state.population, population),
            jnp.concatenate([state.objectives_PM, fitness]),
            state.generation_counter,
        )

    def _survivors(self, choices: Choices, objectives_PM: jax.Array, counter: jax.Array) -> State:
        kept_P, ranks_P, crowding_P = self._best(objectives_PM)
        return State(
            population=choices_lib.take(choices, kept_P),
            objectives_PM=objectives_PM[kept_P],
            ranks_P=ranks_P,
            crowding_P=crowding_P,
            generation_counter=counter,
        )

    def _best(self, objectives_PM: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns (indices of the P survivors, best first; their ranks; their crowding)."""
        raise NotImplementedError


class NSGA2(Elitist):
    """NSGA-II over choices of layers."""

    @property
    def _default_params(self) -> Params:
        return Params(super()._default_params.problem, crossover_rate=0.9, jitter=0.2)

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        size, start = self.population_size, self._block_start(state.generation_counter)
        rival_22P, cross_P, row_JP, jitter_P = local_search.uniforms(
            key, (2, 2, size), (size,), (self.visits, size), (size,)
        )
        # Survivors are sorted, so that the lower index wins a tournament.
        first_P, second_P = (jnp.min(rival_22P, axis=0) * size).astype(jnp.int32)
        parents = choices_lib.take(state.population, first_P)
        block = self._unpack(parents, start, params.problem)
        others_JLP = self._rows(state.population, start, second_P)
        swap_JP = (row_JP < 0.5) & (cross_P < params.crossover_rate)[None]
        rows_JLP = jnp.where(swap_JP[:, None], others_JLP, block.rows_JLP)
        weights_P, extent_M = pareto.trade_offs(state.objectives_PM, state.objectives_PM[first_P])
        weights_P += params.jitter * (2.0 * jitter_P - 1.0)
        prices_P = local_search.prices(weights_P, extent_M, self.layers)
        block = local_search.climb(block, prices_P, rows_JLP=rows_JLP)
        return self._write_back(parents, start, block, params.problem, prices_P), state

    def _best(self, objectives_PM: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return pareto.best(objectives_PM, self.population_size)
