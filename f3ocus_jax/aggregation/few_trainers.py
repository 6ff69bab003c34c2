"""Limit on the updates of layers that too few clients trained for a majority.

Of two clients nobody can tell which one is wrong, so that any rule gives half of the layer to each.
Norm bounding (Sun et al., 2019) limits what one of them can do: its change of the layer is scaled
down to a multiple of the median norm that changes of any layer have in this round.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.aggregation.layerwise import align
from f3ocus_jax.types import Array, Params, Rows

MAJORITY = 3
"""Clients of which one can be outvoted."""


def limit_rows(
    rows_KR: Rows, layers_KR: Array, counted_K: Array, num_layers: int, *, ratio: float
) -> Rows:
    """Limits the changes of layers with fewer than `MAJORITY` trainers.

    Args:
      rows_KR: Changes of the layers, with leading axes K and R.
      layers_KR: int32, layer of each row; L for an unused slot.
      counted_K: bool, True for clients that count.
      num_layers: L.
      ratio: Largest norm, as a multiple of the median over all changes of a layer by a client.

    Returns:
      Changes.
    """
    used_KR = (layers_KR < num_layers) & jnp.asarray(counted_K)[:, None]
    trainers_L = jnp.zeros(num_layers, jnp.int32).at[layers_KR].add(used_KR, mode="drop")
    few_KR = used_KR & (trainers_L.at[layers_KR].get(mode="clip") < MAJORITY)
    slots = layers_KR.shape
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rows_KR)
    limited = _limit(flat, used_KR.ravel(), few_KR.ravel(), ratio)
    return jax.tree.map(lambda leaf: leaf.reshape(*slots, *leaf.shape[1:]), limited)


def limit_head(head_K: Params, counted_K: Array, *, ratio: float) -> Params:
    """Limits the changes of one entry of the head if fewer than `MAJORITY` clients trained it."""
    few = jnp.sum(counted_K) < MAJORITY
    return _limit(head_K, counted_K, counted_K & few, ratio)


def _limit(changes_N: Params, counted_N: Array, few_N: Array, ratio: float) -> Params:
    leaves = jax.tree.leaves(changes_N)
    if not leaves:
        return changes_N
    squares = [jnp.sum(jnp.square(leaf), axis=tuple(range(1, leaf.ndim))) for leaf in leaves]
    norms_N = jnp.sqrt(jnp.sum(jnp.stack(squares), axis=0))
    ascending_N = jnp.sort(jnp.where(counted_N & (norms_N > 0), norms_N, jnp.inf))
    middle = jnp.maximum(jnp.sum(counted_N & (norms_N > 0)) - 1, 0) // 2
    limit = ratio * ascending_N[middle]
    # A norm beyond float32 is infinite, and leaves nothing of the change.
    factors_N = jnp.where(few_N & (norms_N > limit), limit / norms_N, 1.0)
    return jax.tree.map(lambda leaf: leaf * align(factors_N, leaf), changes_N)
