"""How does a choice climb? Client after client makes the swap that pays most at a given price.

With the budgets used up, variance × L is Σ_l n_l² minus a constant, so picking layer l on top of
h_l other clients costs (h_l + 1)² − h_l² = 2 h_l + 1. For one client everything else stands
still, and what a layer is worth to it is its score minus the price times that.
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
      rows_JPL: bool, what these clients pick.
      scores_JL: float32, importance of every layer to these clients.
      histogram_PL: int32, over all clients.
      importance_P: float32, over all clients.
      limits: of these clients; None for the paper's problem.
    """

    rows_JPL: jax.Array
    scores_JL: jax.Array
    histogram_PL: jax.Array
    importance_P: jax.Array
    limits: Limits | None = None


def climb(
    block: Block,
    prices_P: jax.Array,
    *,
    rows_JPL: jax.Array | None = None,
    bias_JPL: jax.Array | None = None,
) -> Block:
    """Lets each client in turn make its best swap, if that improves importance − price × Σ_l n_l².

    Args:
      block: the clients that may swap.
      prices_P: float32 ≥ 0, what one unit of Σ_l n_l² costs in importance, for every choice.
      rows_JPL: bool, what each client picks before it swaps; the block's own rows if None.
      bias_JPL: float32, added to what every layer is worth to a client; nothing if None.

    Returns:
      The block after at most one swap per client; without a bias, no swap makes a choice worse.
    """

    limits = block.limits

    def visit(
        totals: tuple[jax.Array, jax.Array], client: tuple
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        histogram_PL, importance_P = totals
        old_PL, row_PL, scores_L, bias_PL, allowed_L, capacity = client
        others_PL = histogram_PL - old_PL
        row_PL = old_PL if row_PL is None else row_PL
        worth_PL = scores_L[None] - prices_P[:, None] * (2.0 * others_PL + 1.0)
        worth_PL = worth_PL if bias_PL is None else worth_PL + bias_PL
        if limits is None:
            row_PL = swaps.best(row_PL, worth_PL, row_PL, ~row_PL)
        else:
            kept_P = problem_lib.in_bounds(limits, others_PL + row_PL)
            row_PL = jnp.where(kept_P[:, None], row_PL, old_PL)
            here = swaps.Place(row_PL, others_PL, prices_P, allowed_L, capacity)
            row_PL = swaps.best_within(here, worth_PL, limits)
        change_PL = row_PL.astype(jnp.int32) - old_PL
        change_P = jnp.sum(change_PL * scores_L[None], axis=1)
        return (histogram_PL + change_PL, importance_P + change_P), row_PL

    allowed_JL = None if limits is None else limits.allowed_KL
    costs = None if limits is None else limits.costs
    capacity_J = jnp.zeros(len(block.scores_JL)) if costs is None else costs.capacity_K
    clients = block.rows_JPL, rows_JPL, block.scores_JL, bias_JPL, allowed_JL, capacity_J
    totals = block.histogram_PL, block.importance_P
    totals, climbed_JPL = jax.lax.scan(visit, totals, clients)
    return dataclasses.replace(
        block, rows_JPL=climbed_JPL, histogram_PL=totals[0], importance_P=totals[1]
    )


def uniforms(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Draws all the random numbers of a step at once: on CPU every draw is a loop of its own.

    Args:
      key: of the draw.
      *shapes: of the arrays wanted.

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
    """Turns trade-offs into the price of one unit of Σ_l n_l².

    Args:
      weights_P: float32, weight of the importance against the variance, both in units of their
        extent on the front; kept within 0.01 … 0.99.
      extent_M: float32 [2], extent of importance and of variance.
      num_layers: L.

    Returns:
      prices_P: float32 > 0.
    """
    weights_P = jnp.clip(weights_P, 0.01, 0.99)
    return (1.0 - weights_P) / weights_P * extent_M[0] / (extent_M[1] * num_layers)


def shared_gumbel(uniform_PL: jax.Array, visits: int) -> jax.Array:
    """Serves J clients with one draw of noise, at layers shifted by one from client to client.

    Args:
      uniform_PL: float32 in (0, 1).
      visits: J.

    Returns:
      float32 [J, P, L], standard Gumbel noise; drawing that many numbers would cost more than the
      search itself.
    """
    num_layers = uniform_PL.shape[1]
    noise_PL = -jnp.log(-jnp.log(uniform_PL))
    # Rows of L + 1 numbers cut from a repeated row of L start one place later each.
    repeated = jnp.tile(noise_PL, (1, visits + visits // num_layers + 1))
    rows_PJL = repeated[:, : visits * (num_layers + 1)].reshape(-1, visits, num_layers + 1)
    return jnp.swapaxes(rows_PJL[..., :num_layers], 0, 1)
