"""Relative position bias of attention, as T5 has it (Raffel et al., 2020, section 2.1)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.models.blocks.t5_config import T5Config


def relative_position_bias(
    config: T5Config, bias_VH: jax.Array, distance_BTS: jax.Array, *, bidirectional: bool
) -> jax.Array:
    """Looks up the attention bias of the distances between tokens.

    Args:
      config: Sizes; V is their `relative_attention_num_buckets`, H their `num_heads`.
      bias_VH: Learned bias of every bucket of distances.
      distance_BTS: int32, position of the key minus position of the query.
      bidirectional: True if later and earlier tokens have buckets of their own. If False, all later
        tokens share the bucket of distance 0.

    Returns:
      bias_BHTS, added to the attention logits.
    """
    buckets = config.relative_attention_num_buckets // (2 if bidirectional else 1)
    farthest = config.relative_attention_max_distance
    table = jnp.asarray(_buckets(buckets, farthest))
    bucket_BTS = table[jnp.minimum(jnp.abs(distance_BTS), farthest)]
    if bidirectional:
        bucket_BTS = bucket_BTS + jnp.where(distance_BTS > 0, buckets, 0)
    else:
        bucket_BTS = jnp.where(distance_BTS > 0, 0, bucket_BTS)
    return jnp.moveaxis(jnp.take(bias_VH, bucket_BTS, axis=0), -1, 1)


@functools.cache
def _buckets(buckets: int, farthest: int) -> np.ndarray:
    """Returns the bucket of every distance from 0 on: exact ones first, then logarithmic ones."""
    exact = buckets // 2
    distance = np.arange(farthest + 1)
    # In float32, as torch computes them: some distances are on the border of two buckets.
    fraction = np.log(np.maximum(distance, 1).astype(np.float32) / np.float32(exact))
    fraction = fraction / np.float32(np.log(farthest / exact)) * np.float32(buckets - exact)
    logarithmic = np.minimum(exact + fraction.astype(np.int32), buckets - 1)
    return np.where(distance < exact, distance, logarithmic).astype(np.int32)
