"""How does NSGA-II choose layers? Non-dominated sorting, crowding, tournaments, row crossover.

K. Deb, A. Pratap, S. Agarwal, T. Meyarivan: A fast and elitist multiobjective genetic algorithm:
NSGA-II. IEEE Transactions on Evolutionary Computation 6(2), 2002. As there: binary tournaments by
rank, then crowding; parents and children compete for P places together.

Differences: a child takes whole client rows from its two parents, which keeps every budget; only
the J clients whose turn it is are recombined; mutation is a client's best swap for the trade-off
at which the child stands (Deb and Goel 2001 weigh the objectives of a local search so); equal
points count once.
"""

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
      population: P choices, best first.
      objectives_PM: float32, minimised.
      ranks_P: int32, non-dominated rank.
      crowding_P: float32, crowding distance.
      generation_counter: int32.
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
      crossover_rate: share of children that take rows from a second parent.
      jitter: standard deviation of the noise on a child's trade-off.
    """

    crossover_rate: float
    jitter: float


class NSGA2(Metaheuristic):
    """NSGA-II over choices of layers."""

    @property
    def _default_params(self) -> Params:
        return Params(super()._default_params.problem, crossover_rate=0.9, jitter=0.1)

    def elites(self, state: State) -> Choices:
        """Returns the population, which holds the front."""
        return state.population

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        return self._survivors(population, population.objectives(), jnp.int32(0))

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        key_mate, key_cross, key_weight = jax.random.split(key, 3)
        first_P, second_P = self._tournaments(key_mate)
        parents, others = (
            choices_lib.take(state.population, chosen_P) for chosen_P in (first_P, second_P)
        )
        start = self._block_start(state.generation_counter)
        block = self._open(parents, start, params.problem)
        rows_JPL = self._open(others, start, params.problem).rows_JPL
        block = local_search.recombine(key_cross, block, rows_JPL, params.crossover_rate)
        weights_P, extent_M = pareto.trade_offs(state.objectives_PM, state.objectives_PM[first_P])
        weights_P += params.jitter * jax.random.normal(key_weight, weights_P.shape)
        block = local_search.climb(block, local_search.prices(weights_P, extent_M, self.layers))
        return self._close(parents, start, block), state

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        return self._survivors(
            choices_lib.concatenate(state.population, population),
            jnp.concatenate([state.objectives_PM, fitness]),
            state.generation_counter,
        )

    def _survivors(self, choices: Choices, objectives_PM: jax.Array, counter: jax.Array) -> State:
        kept_P, ranks_P, crowding_P = pareto.best(objectives_PM, self.population_size)
        return State(
            population=choices_lib.take(choices, kept_P),
            objectives_PM=objectives_PM[kept_P],
            ranks_P=ranks_P,
            crowding_P=crowding_P,
            generation_counter=counter,
        )

    def _tournaments(self, key: jax.Array) -> jax.Array:
        """Returns two parents per child, int32 [2, P]; survivors are sorted: the lower wins."""
        size = self.population_size
        return (jnp.min(jax.random.uniform(key, (2, 2, size)), axis=0) * size).astype(jnp.int32)
