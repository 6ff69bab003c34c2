"""Ant system as published, for subset problems with two objectives.

M. Dorigo, V. Maniezzo, A. Colorni: Ant system: optimization by a colony of cooperating agents.
IEEE Transactions on Systems, Man, and Cybernetics B 26(1), 1996; for subset problems G.
Leguizamón, Z. Michalewicz: A new version of Ant System for subset problems. CEC 1999; for two
objectives S. Iredi, D. Merkle, M. Middendorf: Bi-criterion optimization with multi colony ant
algorithms. EMO 2001.

As published: an ant builds its choice from nothing, item by item, and draws the next item among
those that remain with probability ∝ τ η₁^(5 λ) η₂^(5 (1 − λ)); pheromone τ lies on items; ant p
of the colony weighs the objectives by λ = p / (P − 1); after each generation pheromone evaporates
by half, and each of the l ants that no other dominates adds 1 / l to its items.
Adapted: an item is a pair of client and layer, and an ant fills one client's budget after the
other, in an order drawn anew per generation; η₁ is the score, scaled to [0.01, 1] per client, and
η₂ = 1 / (1 + n_l), with n_l clients that picked the layer so far; one pheromone serves both
objectives, since both would get the same deposits. Where layers have bounds or must be shared, a
choice is repaired (`feasible.py`), towards pheromone and score.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, pareto, problem as problem_lib
from f3ocus_jax.selection.choices import Choices
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.published import algorithm, feasible
from f3ocus_jax.selection.published.algorithm import PublishedMetaheuristic

LEAST = 1e-20
"""Pheromone below which an item counts as untouched, so that its logarithm stays finite."""


@struct.dataclass
class State:
    """A colony between two generations.

    Attributes:
      pheromone_KL: float32 > 0.
      generation_counter: int32, number of generations so far.
    """

    pheromone_KL: jax.Array
    generation_counter: jax.Array


@struct.dataclass
class Params(algorithm.Params):
    """Settings of the colony.

    Attributes:
      alpha: Exponent of the pheromone.
      beta: Exponent of the heuristics.
      evaporation: Fraction of the pheromone that evaporates per generation.
      least_score: Heuristic of a client's least important layer; 1 for its most important one.
    """

    alpha: float
    beta: float
    evaporation: float
    least_score: float


class PublishedAntColony(PublishedMetaheuristic):
    """A bi-criterion ant system that builds whole choices."""

    @property
    def _default_params(self) -> Params:
        base = super()._default_params
        return Params(
            base.problem,
            base.generations,
            alpha=1.0,
            beta=5.0,
            evaporation=0.5,
            least_score=0.01,
        )

    def _init(self, key: jax.Array, population: Choices, params: Params) -> State:
        return State(jnp.ones((self.clients, self.layers)), jnp.int32(0))

    def _ask(self, key: jax.Array, state: State, params: Params) -> tuple[Choices, State]:
        key_order, key_noise = jax.random.split(key)
        order_K = jax.random.permutation(key_order, self.clients)
        shape_PL = (self.population_size, self.layers)
        weights_P1 = jnp.linspace(0.0, 1.0, self.population_size)[:, None]
        known_KL = params.alpha * jnp.log(state.pheromone_KL)
        desire_KL = params.beta * jnp.log(_scaled(params.problem.scores_KL, params.least_score))

        def fill(
            histogram_PL: jax.Array, client: tuple[jax.Array, jax.Array]
        ) -> tuple[jax.Array, jax.Array]:
            number, key = client
            even_PL = -params.beta * jnp.log1p(histogram_PL.astype(jnp.float32))
            odds_PL = known_KL[number][None] + weights_P1 * desire_KL[number][None]
            odds_PL += (1.0 - weights_P1) * even_PL
            # The largest sums with Gumbel noise are a draw without replacement.
            rows_PL = _take(params.problem, number, odds_PL + jax.random.gumbel(key, shape_PL))
            return histogram_PL + rows_PL, rows_PL

        clients = order_K, jax.random.split(key_noise, self.clients)
        rows_KPL = jax.lax.scan(fill, jnp.zeros(shape_PL, jnp.int32), clients)[1]
        masks_PKL = jnp.moveaxis(jnp.zeros_like(rows_KPL).at[order_K].set(rows_KPL), 0, 1)
        limits = params.problem.limits
        if limits is not None and limits.joint:
            keys_PKL = jnp.broadcast_to((known_KL + desire_KL)[None], masks_PKL.shape)
            masks_PKL = feasible.within_limits(params.problem, limits, masks_PKL, keys_PKL)
        words_PKW = choices_lib.pack(masks_PKL)
        return choices_lib.from_words(words_PKW, params.problem.scores_KL), state

    def _tell(
        self, key: jax.Array, population: Choices, fitness: jax.Array, state: State, params: Params
    ) -> State:
        front_P = pareto.front(fitness)
        picked_PKL = self._masks(population) & front_P[:, None, None]
        deposit_KL = jnp.sum(picked_PKL, axis=0) / jnp.sum(front_P)
        pheromone_KL = (1.0 - params.evaporation) * state.pheromone_KL + deposit_KL
        return dataclasses.replace(state, pheromone_KL=jnp.maximum(pheromone_KL, LEAST))


def _scaled(scores_KL: jax.Array, least: float) -> jax.Array:
    """Scales each client's scores to [least, 1]; 1 where all are equal."""
    low_K1 = jnp.min(scores_KL, axis=1, keepdims=True)
    extent_K1 = jnp.max(scores_KL, axis=1, keepdims=True) - low_K1
    share_KL = (scores_KL - low_K1) / jnp.where(extent_K1 > 0, extent_K1, 1.0)
    return jnp.where(extent_K1 > 0, least + (1.0 - least) * share_KL, 1.0)


def _take(problem: Problem, client: jax.Array, keys_PL: jax.Array) -> jax.Array:
    """Takes a client's layers by descending key in P choices, within its own limits."""
    index_PL = pareto.sorted_index_in_rows(-keys_PL)
    return jax.vmap(functools.partial(problem_lib.take_first, problem, client))(index_PL)
