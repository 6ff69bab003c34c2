"""Fed-HeLLo's allocations of layers by the clients' budgets (Zhang et al., 2025, arXiv 2506.12213).

Geometric ones (GD-HLA) have an order of the layers, of which a client takes as many of the first as
its budget allows. More clients then train the layers that come early, which draws the shape:
"triangle" from the input on, "inverted_triangle" from the output on, "bottleneck" from both ends to
the middle. "uniform" deals the layers evenly over the clients.

Randomised ones (RGD-HLA) draw a client's layers in every round, without replacement: the first half
of the order with the weight 3, the next quarter with 2, the rest with 1, as in the authors' code,
and all layers alike for "uniform". "fisher" (FIM-HLA) draws with weights by level of importance:
the clients' mean scores in three clusters of the least squared distances, of weights 1, 2 and 3.
The authors take the Fisher scores of data that the server has; here they are the clients' own.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.selection import (
    choices as choices_lib,
    pareto,
    problem as problem_lib,
    seeds,
    selector,
)
from f3ocus_jax.selection.problem import Problem
from f3ocus_jax.selection.selector import Select, SelectorOptions

UNIFORM, FISHER = "uniform", "fisher"
SHAPES = ("triangle", "inverted_triangle", "bottleneck", UNIFORM, FISHER)


def make_allocated_selector(options: SelectorOptions) -> Select:
    """Makes a selector of one allocation.

    Args:
      options: Options of the selector: `shape`, `randomised`, and `population` for the size of the
        front, which has one row in use. "fisher" is always randomised.

    Returns:
      A jitted `Select`. It raises a ValueError for limits that join clients.
    """
    population, shape = options.population, options.shape
    draws = options.randomised or shape == FISHER

    def find(key: jax.Array, problem: Problem, seeds_PKL: jax.Array) -> jax.Array:
        del seeds_PKL
        if problem.limits is not None and problem.limits.joint:
            raise ValueError(
                "selection algorithm 'allocated' keeps no coverage, cap or least number of sharers "
                "of a layer; choose another algorithm, or give none"
            )
        mask_KL = _drawn(key, problem, shape) if draws else _fixed(problem, shape)
        mask_KW = choices_lib.pack(mask_KL)
        return jnp.zeros((population, *mask_KW.shape), mask_KW.dtype).at[0].set(mask_KW)

    first = dataclasses.replace(options, pick="index", pick_value=0.0)
    return selector.make_select(find, first)


def order_of(shape: str, layers: int) -> np.ndarray:
    """Returns each layer's place in the order of a shape, int32 [L]; 0 for the first.

    Args:
      shape: One of `SHAPES` that has an order.
      layers: L.
    """
    index_L = np.arange(layers, dtype=np.int32)
    if shape == "triangle":
        return index_L
    if shape == "inverted_triangle":
        return index_L[::-1].copy()
    # The first, the last, the second, the last but one, and so on.
    from_end_L = index_L[::-1]
    return np.where(index_L <= from_end_L, 2 * index_L, 2 * from_end_L + 1).astype(np.int32)


def shape_weights(shape: str, layers: int) -> np.ndarray:
    """Returns the weight with which each layer is drawn, float32 [L]: 3, 2 or 1.

    Args:
      shape: One of `SHAPES` but "fisher".
      layers: L.
    """
    if shape == UNIFORM:
        return np.ones(layers, np.float32)
    place_L = order_of(shape, layers)
    return 1.0 + (4 * place_L < 3 * layers) + (2 * place_L < layers).astype(np.float32)


def level_weights(values_L: jax.Array) -> jax.Array:
    """Returns weights by level: 1, 2 or 3 for the cluster of the least to the largest values.

    Args:
      values_L: float32.

    Returns:
      float32 [L]. The three clusters, of which one may be empty, have the least sum of squared
      distances to their means of all clusters; they are cuts of the ascending values.
    """
    layers = len(values_L)
    ascending_L = jnp.sort(values_L)
    # In this order, equally good clusterings part the weights of two kinds of values as 1 and 3.
    cuts = ((low, high) for low in range(layers, -1, -1) for high in range(low, layers + 1))
    cuts_N2 = jnp.array(list(cuts))
    place_L = jnp.arange(layers)

    def spread(cut_2: jax.Array) -> jax.Array:
        level_L = (place_L >= cut_2[0]).astype(jnp.int32) + (place_L >= cut_2[1])
        members_3L = level_L[None] == jnp.arange(3)[:, None]
        counts_3 = jnp.maximum(jnp.sum(members_3L, axis=1), 1)
        means_3 = jnp.sum(jnp.where(members_3L, ascending_L[None], 0.0), axis=1) / counts_3
        return jnp.sum(jnp.square(ascending_L - means_3[level_L]))

    spreads_N = jax.lax.map(spread, cuts_N2)
    best_2 = cuts_N2[jnp.argmax(spreads_N <= jnp.min(spreads_N) + 1e-6 * jnp.max(spreads_N))]
    # Equal values have one level, whichever of them a cut would part.
    bounds_2 = jnp.append(ascending_L, jnp.inf)[best_2]
    return 1.0 + jnp.sum(values_L[:, None] >= bounds_2[None], axis=1, dtype=jnp.float32)


def _fixed(problem: Problem, shape: str) -> jax.Array:
    clients, layers = problem.scores_KL.shape
    if shape == UNIFORM:
        alike_KL = jnp.zeros_like(problem.scores_KL)
        return seeds.even_choice(dataclasses.replace(problem, scores_KL=alike_KL))
    place_KL = jnp.broadcast_to(jnp.asarray(order_of(shape, layers)), (clients, layers))
    return _take(problem, place_KL)


def _drawn(key: jax.Array, problem: Problem, shape: str) -> jax.Array:
    """Draws layers in turn by their weights: the order of Gumbel noise plus the weights' logs."""
    clients, layers = problem.scores_KL.shape
    if shape == FISHER:
        present_K1 = (problem.budgets_K > 0)[:, None]
        weights_L = level_weights(jnp.mean(problem.scores_KL, axis=0, where=present_K1))
    else:
        weights_L = jnp.asarray(shape_weights(shape, layers))
    noisy_KL = jnp.log(weights_L)[None] + jax.random.gumbel(key, (clients, layers))
    return _take(problem, pareto.sorted_index_in_rows(-noisy_KL))


def _take(problem: Problem, place_KL: jax.Array) -> jax.Array:
    """Takes layers in each client's order, as far as its own limits allow."""
    clients = jnp.arange(len(place_KL))
    return jax.vmap(lambda client, place_L: problem_lib.take_first(problem, client, place_L))(
        clients, place_KL
    )
