"""Which swap makes a choice better? Hill climbing, one client after the other.

With the budgets used up, variance × L is Σ_l n_l² minus a constant, so picking layer l on top of
h_l other clients costs (h_l + 1)² − h_l² = 2 h_l + 1. For one client everything else stands still,
and its best swap is its most worthwhile layer not picked for its least worthwhile layer picked.
"""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Block:
    """The J clients that change in one generation, in all P choices, and the choices' totals.

    Attributes:
      rows_JPL: bool, what these clients pick.
      scores_JL: float32, importance of every layer to these clients.
      histogram_PL: int32, over all clients.
      importance_P: float32, over all clients.
    """

    rows_JPL: jax.Array
    scores_JL: jax.Array
    histogram_PL: jax.Array
    importance_P: jax.Array


def climb(block: Block, prices_P: jax.Array) -> Block:
    """Lets each client in turn make its best swap, if that improves importance − price × Σ_l n_l².

    Args:
      block: the clients that may swap.
      prices_P: float32 ≥ 0, what one unit of Σ_l n_l² costs in importance, for every choice.

    Returns:
      The block after at most one swap per client; no choice is worse than before.
    """

    def visit(
        totals: tuple[jax.Array, jax.Array], client: tuple[jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        histogram_PL, importance_P = totals
        row_PL, scores_L = client
        others_PL = (histogram_PL - row_PL).astype(jnp.float32)
        worth_PL = scores_L[None] - prices_P[:, None] * (2.0 * others_PL + 1.0)
        gone_P, loss_P = _extreme(jnp.where(row_PL, -worth_PL, -jnp.inf))
        new_P, gain_P = _extreme(jnp.where(row_PL, -jnp.inf, worth_PL))
        better_P = gain_P + loss_P > 0
        flip_PL = _one_hot(gone_P, row_PL.shape[1]) | _one_hot(new_P, row_PL.shape[1])
        new_PL = row_PL ^ (flip_PL & better_P[:, None])
        change_PL = new_PL.astype(jnp.int32) - row_PL
        change_P = jnp.where(better_P, scores_L[new_P] - scores_L[gone_P], 0.0)
        return (histogram_PL + change_PL, importance_P + change_P), new_PL

    totals = block.histogram_PL, block.importance_P
    totals, rows_JPL = jax.lax.scan(visit, totals, (block.rows_JPL, block.scores_JL))
    return Block(rows_JPL, block.scores_JL, *totals)


def recombine(key: jax.Array, block: Block, others_JPL: jax.Array, rate: float) -> Block:
    """Replaces rows by those of a second parent (uniform crossover of clients).

    Args:
      key: of the draw.
      block: of the first parents.
      others_JPL: bool, the same clients' rows in the second parents.
      rate: share of choices that are crossed; the others stay as they are.

    Returns:
      The block; in a crossed choice every row comes from either parent with probability ½.
    """
    key_cross, key_row = jax.random.split(key)
    crossed_P = jax.random.uniform(key_cross, others_JPL.shape[1:2]) < rate
    swap_JP = jax.random.bernoulli(key_row, 0.5, others_JPL.shape[:2]) & crossed_P[None]
    return replace_rows(block, jnp.where(swap_JP[..., None], others_JPL, block.rows_JPL))


def replace_rows(block: Block, rows_JPL: jax.Array) -> Block:
    """Puts other rows in, and brings the totals up to date."""
    change_JPL = rows_JPL.astype(jnp.int32) - block.rows_JPL
    importance_P = jnp.sum(change_JPL * block.scores_JL[:, None], axis=(0, 2))
    return Block(
        rows_JPL,
        block.scores_JL,
        block.histogram_PL + jnp.sum(change_JPL, axis=0),
        block.importance_P + importance_P,
    )


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


def _extreme(values_PL: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.argmax(values_PL, axis=1), jnp.max(values_PL, axis=1)


def _one_hot(index_P: jax.Array, num_layers: int) -> jax.Array:
    return index_P[:, None] == jnp.arange(num_layers)[None]
