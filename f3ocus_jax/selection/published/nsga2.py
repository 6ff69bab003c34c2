"""NSGA-II as published, over strings of K × L bits.

K. Deb, A. Pratap, S. Agarwal, T. Meyarivan: A fast and elitist multiobjective genetic algorithm:
NSGA-II. IEEE Transactions on Evolutionary Computation 6(2), 2002.

As published, with the operators and rates of its binary-coded runs (section V): a random first
generation; binary tournaments by the crowded comparison, rank first, then crowding distance;
single-point crossover of two parents to two children with probability 0.9; each bit flips with
probability 1 / (K L); the best P of parents and children survive, the last front by crowding.
Adapted: children are repaired to their clients' budgets (`feasible.py`) in place of constrained
domination.
"""

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import pareto
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.nsga2 import Elitist, State
from f3ocus_jax.selection.published import algorithm, feasible
from f3ocus_jax.selection.published.algorithm import PublishedMetaheuristic


@struct.dataclass
class Params(algorithm.Params):
    """Settings of NSGA-II.

    Attributes:
      crossover_rate: Probability that two parents exchange the ends of their strings.
    """

    crossover_rate: float


class PublishedNSGA2(Elitist, PublishedMetaheuristic):
    """NSGA-II with single-point crossover and bit-flip mutation."""

    @property
    def _default_params(self) -> Params:
        base = super()._default_params
        return Params(base.problem, base.generations, crossover_rate=0.9)

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        key_parents, key_cross, key_flip, key_repair = jax.random.split(key, 4)
        size, bits = self.population_size, self.clients * self.layers
        parents_2N = self._tournaments(key_parents, state)
        masks_PKL = self._masks(state.population)
        first_NV, second_NV = (masks_PKL[parents_N].reshape(-1, bits) for parents_N in parents_2N)
        children_PV = _cross(key_cross, first_NV, second_NV, params.crossover_rate)[:size]
        children_PV ^= jax.random.uniform(key_flip, children_PV.shape) < 1.0 / bits
        bits_PKL = children_PV.reshape(size, self.clients, self.layers)
        return feasible.repair_bits(key_repair, params.problem, bits_PKL), state

    def _tournaments(self, key: jax.Array, state: State) -> jax.Array:
        """Returns the indices of ⌈P / 2⌉ pairs of parents, int32 [2, ⌈P / 2⌉]."""
        size = self.population_size
        rivals_22N = jax.random.randint(key, (2, 2, -(-size // 2)), 0, size)
        ranks_22N, crowding_22N = state.ranks_P[rivals_22N], state.crowding_P[rivals_22N]
        less_crowded_2N = crowding_22N[0] >= crowding_22N[1]
        wins_2N = ranks_22N[0] < ranks_22N[1]
        wins_2N |= (ranks_22N[0] == ranks_22N[1]) & less_crowded_2N
        return jnp.where(wins_2N, rivals_22N[0], rivals_22N[1])

    def _best(self, objectives_PM: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        ranks_P = pareto.ranks(objectives_PM)
        crowding_P = pareto.crowding(objectives_PM, ranks_P)
        kept_P = pareto.order(ranks_P, -crowding_P)[: self.population_size]
        return kept_P, ranks_P[kept_P], crowding_P[kept_P]


def _cross(key: jax.Array, first_NV: jax.Array, second_NV: jax.Array, rate: float) -> jax.Array:
    """Exchanges the ends of pairs of strings behind a random point.

    Args:
      key: Random key.
      first_NV: bool, one parent of each pair.
      second_NV: bool, the other.
      rate: Probability that a pair is crossed.

    Returns:
      bool [2 N, V], two children per pair.
    """
    key_point, key_rate = jax.random.split(key)
    pairs, bits = first_NV.shape
    point_N = jax.random.randint(key_point, (pairs,), 1, max(bits, 2))
    crossed_N = jax.random.uniform(key_rate, (pairs,)) < rate
    tail_NV = (jnp.arange(bits)[None] >= point_N[:, None]) & crossed_N[:, None]
    return jnp.concatenate(
        [jnp.where(tail_NV, second_NV, first_NV), jnp.where(tail_NV, first_NV, second_NV)]
    )
