"""Which swap makes a choice better? Hill climbing, one client after the other.

With the budgets used up, variance × L is Σ_l n_l² minus a constant, so picking layer l on top of
h_l other clients costs (h_l + 1)² − h_l² = 2 h_l + 1. For one client everything else stands
still, and its best swap is its most worthwhile layer not picked for its least worthwhile layer
picked.
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


def climb(block: Block, prices_P: jax.Array, bias_JPL: jax.Array | None = None) -> Block:
    """Lets each client in turn make its best swap, if that improves importance − price × Σ_l n_l².

    Args:
      block: the clients that may swap.
      prices_P: float32 ≥ 0, what one unit of Σ_l n_l² costs in importance, for every choice.
      bias_JPL: float32, added to what every layer is worth to a client; nothing if None.

    Returns:
      The block after at most one swap per client; without a bias, no choice is worse than before.
    """

    def visit(
        totals: tuple[jax.Array, jax.Array], client: tuple[jax.Array, jax.Array, jax.Array | None]
    ) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        histogram_PL, importance_P = totals
        row_PL, scores_L, bias_PL = client
        others_PL = (histogram_PL - row_PL).astype(jnp.float32)
        worth_PL = scores_L[None] - prices_P[:, None] * (2.0 * others_PL + 1.0)
        worth_PL = worth_PL if bias_PL is None else worth_PL + bias_PL
        gone_PL, least_P = _first_smallest(jnp.where(row_PL, worth_PL, jnp.inf))
        new_PL, most_P = _first_smallest(jnp.where(row_PL, jnp.inf, -worth_PL))
        better_P = least_P + most_P < 0
        new_row_PL = row_PL ^ ((gone_PL | new_PL) & better_P[:, None])
        change_PL = new_row_PL.astype(jnp.int32) - row_PL
        change_P = jnp.sum(change_PL * scores_L[None], axis=1)
        return (histogram_PL + change_PL, importance_P + change_P), new_row_PL

    totals = block.histogram_PL, block.importance_P
    clients = block.rows_JPL, block.scores_JL, bias_JPL
    totals, rows_JPL = jax.lax.scan(visit, totals, clients)
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


def shifted(noise_PL: jax.Array, visits: int) -> jax.Array:
    """Serves J clients with one draw of noise, at layers shifted by one from client to client.

    Args:
      noise_PL: float32.
      visits: J.

    Returns:
      float32 [J, P, L]; drawing that many numbers would cost more than the search itself.
    """
    num_layers = noise_PL.shape[1]
    twice_PL = jnp.concatenate([noise_PL, noise_PL], axis=1)
    starts_J = jnp.arange(visits) % num_layers
    return jax.vmap(
        lambda start: jax.lax.dynamic_slice_in_dim(twice_PL, start, num_layers, axis=1)
    )(starts_J)


def _first_smallest(values_PL: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Marks the first smallest value of each row, several times faster on CPU than argmin."""
    num_layers = values_PL.shape[1]
    layers_PL = jnp.broadcast_to(jnp.arange(num_layers)[None], values_PL.shape)
    smallest_P = jnp.min(values_PL, axis=1)
    hits_PL = values_PL == smallest_P[:, None]
    first_P = jnp.min(jnp.where(hits_PL, layers_PL, num_layers), axis=1)
    return layers_PL == first_P[:, None], smallest_P
