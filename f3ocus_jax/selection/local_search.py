"""Local search shared by the metaheuristics: each client makes its best swap at a given price.

With the budgets used up, variance × L is Σ_l n_l² minus a constant, so picking layer l on top of
h_l other clients costs (h_l + 1)² − h_l² = 2 h_l + 1. For one client everything else stands
still, and what a layer is worth to it is its score minus the price times that.

The P choices are the last axis here: they are many and independent, so that what is done to all
of them at once runs in the vector units.
"""

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import problem as problem_lib, swaps
from f3ocus_jax.selection.problem import Limits


@struct.dataclass
class Block:
    """The J clients that change in one generation, in all P choices, and the choices' totals.

    Attributes:
      rows_JLP: bool, picks of these clients.
      scores_JL: float32, importance of every layer to these clients.
      histogram_LP: int32, number of clients that pick each layer, over all K clients.
      importance_P: float32, importance over all K clients.
      limits: Limits of these clients; None for the paper's problem.
    """

    rows_JLP: jax.Array
    scores_JL: jax.Array
    histogram_LP: jax.Array
    importance_P: jax.Array
    limits: Limits | None = None


def climb(
    block: Block,
    prices_P: jax.Array,
    *,
    rows_JLP: jax.Array | None = None,
    bias_JLP: jax.Array | None = None,
) -> Block:
    """Makes each client's best swap in turn, if that improves importance − price × Σ_l n_l².

    Args:
      block: Clients that may swap.
      prices_P: float32 ≥ 0, price of one unit of Σ_l n_l² in importance, per choice.
      rows_JLP: bool, picks of each client before its swap; the block's own rows if None.
      bias_JLP: float32, added to every layer's worth to a client; no bias if None.

    Returns:
      The block after at most one swap per client; without a bias, no swap makes a choice worse.
    """

    limits = block.limits

    def visit(
        totals: tuple[jax.Array, jax.Array], client: tuple
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        histogram_LP, importance_P = totals
        old_LP, row_LP, scores_L, bias_LP, allowed_L, capacity = client
        others_LP = histogram_LP - old_LP
        worth_LP = scores_L[:, None] - prices_P[None] * (2.0 * others_LP + 1.0)
        worth_LP = worth_LP if bias_LP is None else worth_LP + bias_LP
        if row_LP is None:
            row_LP = old_LP
        else:
            row_LP = row_LP if limits is None else _within_bounds(row_LP, old_LP, others_LP, limits)
            change_LP = row_LP.astype(jnp.float32) - old_LP
            importance_P += jnp.sum(change_LP * scores_L[:, None], axis=0)
        if limits is None:
            swap = swaps.best(row_LP, worth_LP, row_LP, ~row_LP)
        else:
            picks = swaps.ClientPicks(row_LP, others_LP, prices_P, allowed_L, capacity)
            swap = swaps.best_within(picks, worth_LP, limits)
        scores_E = jnp.append(scores_L, 0.0)
        importance_P += scores_E[swap.new_P] - scores_E[swap.gone_P]
        return (others_LP + swap.row_LP, importance_P), swap.row_LP

    allowed_JL = None if limits is None else limits.allowed_KL
    costs = None if limits is None else limits.costs
    capacity_J = jnp.zeros(len(block.scores_JL)) if costs is None else costs.capacity_K
    clients = block.rows_JLP, rows_JLP, block.scores_JL, bias_JLP, allowed_JL, capacity_J
    totals = block.histogram_LP, block.importance_P
    totals, climbed_JLP = jax.lax.scan(visit, totals, clients)
    return dataclasses.replace(
        block, rows_JLP=climbed_JLP, histogram_LP=totals[0], importance_P=totals[1]
    )


def _within_bounds(
    row_LP: jax.Array, old_LP: jax.Array, others_LP: jax.Array, limits: Limits
) -> jax.Array:
    """Returns a client's new row where it satisfies every layer's bounds, else its old one."""
    kept_P = problem_lib.in_bounds(limits, (others_LP + row_LP).T)
    return jnp.where(kept_P[None], row_LP, old_LP)


def uniforms(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Draws all random numbers of a step in one call, since each draw is a loop of its own on CPU.

    Args:
      key: Random key.
      *shapes: Shapes of the arrays to draw.

    Returns:
      float32 arrays, uniform in (0, 1).
    """
    sizes = [math.prod(shape) for shape in shapes]
    numbers = jax.random.uniform(key, (sum(sizes),), minval=1e-7)
    ends = itertools.accumulate(sizes)
    return [
        numbers[end - size : end].reshape(shape)
        for end, size, shape in zip(ends, sizes, shapes, strict=True)
    ]


def prices(weights_P: jax.Array, extent_M: jax.Array, num_layers: int) -> jax.Array:
    """Converts trade-off weights to prices of one unit of Σ_l n_l².

    Args:
      weights_P: float32, weight of the importance against the variance, both in units of their
        extent on the front; clipped to 0.01 … 0.99.
      extent_M: float32 [2], extents of importance and variance.
      num_layers: L.

    Returns:
      prices_P: float32 > 0.
    """
    weights_P = jnp.clip(weights_P, 0.01, 0.99)
    return (1.0 - weights_P) / weights_P * extent_M[0] / (extent_M[1] * num_layers)


def shared_gumbel(key: jax.Array, visits: int, num_layers: int, size: int) -> jax.Array:
    """Draws Gumbel noise once and shares it among J clients, shifted by one layer per client.

    Args:
      key: Random key.
      visits: J.
      num_layers: L.
      size: P.

    Returns:
      float32 [J, L, P], standard Gumbel noise. Independent noise of this size would cost more than
      the search itself.
    """
    noise_LP = -jnp.log(-jnp.log(hashed_uniforms(key, num_layers * size)))
    # Rows of L + 1 numbers cut from a repeated row of L start one index later each.
    repeated = jnp.tile(noise_LP.reshape(num_layers, size), (visits + visits // num_layers + 1, 1))
    rows_JLP = repeated[: visits * (num_layers + 1)].reshape(visits, num_layers + 1, -1)
    return rows_JLP[:, :num_layers]


def hashed_uniforms(key: jax.Array, count: int) -> jax.Array:
    """Draws many uniform numbers in a tenth of the time of JAX's own generator on CPU.

    Args:
      key: Random key; two words of it key a hash of 0, 1, 2, ….
      count: Number of values.

    Returns:
      float32 [count], uniform in (0, 1).
    """
    first, second = jax.random.bits(key, (2,), jnp.uint32)
    words = _mix(_mix(jnp.arange(count, dtype=jnp.uint32) ^ first) + second)
    return ((words >> 9).astype(jnp.float32) + 0.5) / 2**23


def _mix(words: jax.Array) -> jax.Array:
    """Mixes every bit of a uint32 into all bits (C. Wellons' hash "lowbias32", public domain)."""
    words = (words ^ (words >> 16)) * jnp.uint32(0x7FEB352D)
    words = (words ^ (words >> 15)) * jnp.uint32(0x846CA68B)
    return words ^ (words >> 16)
