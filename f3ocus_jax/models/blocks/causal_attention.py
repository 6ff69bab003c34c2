"""Causal attention over cached keys and values.

Padding stands on the right, behind all tokens that are read, so that the causal mask hides it.
"""

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks.key_value_cache import KeyValueCache


def causal_mask(positions_BT: jax.Array, slots: int) -> jax.Array:
    """Makes the attention bias by which tokens attend to themselves and to all before them.

    Args:
      positions_BT: int32, the tokens' positions in their sequence; B may be 1 for all examples.
      slots: S, number of positions that can be attended to, from 0 on.

    Returns:
      bias_B1TS, float32: 0 where attention is allowed, the lowest finite number elsewhere.
    """
    visible_BTS = jnp.arange(slots)[None, None] <= positions_BT[..., None]
    return jnp.where(visible_BTS, 0.0, jnp.finfo(jnp.float32).min)[:, None]


def split_heads(projected_BTD: jax.Array, heads: int) -> jax.Array:
    """Returns [B, heads, T, D / heads]."""
    batch, tokens, width = projected_BTD.shape
    return projected_BTD.reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)


def attend(
    query: jax.Array, cache: KeyValueCache, bias_BHTS: jax.Array, scale: float | None = None
) -> jax.Array:
    """Computes scaled dot-product attention of queries over cached keys and values.

    Args:
      query: Queries, [B, heads, T, dimensions].
      cache: Keys and values, [B, groups, S, dimensions]. Fewer groups than heads share keys and
        values among as many heads each.
      bias_BHTS: float32, added to the attention logits; an axis of 1 stands for all.
      scale: Factor of the logits; one over the root of the dimensions if None.

    Returns:
      [B, T, heads · dimensions], of the queries' dtype.
    """
    batch, heads, tokens, width = query.shape
    groups = cache.key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups, tokens, width)
    logits = grouped @ cache.key[:, :, None].swapaxes(-1, -2)
    logits = logits * (width**-0.5 if scale is None else scale)
    logits = logits.astype(jnp.float32) + bias_BHTS[:, :, None]
    attention_weights = jax.nn.softmax(logits, axis=-1).astype(query.dtype)
    mixed = (attention_weights @ cache.value[:, :, None]).reshape(batch, heads, tokens, width)
    return mixed.swapaxes(1, 2).reshape(batch, tokens, heads * width)


def append_tokens(text_BTD: jax.Array, more_BAD: jax.Array, length_B: jax.Array) -> jax.Array:
    """Appends tokens directly to the last token of texts that are padded on the right.

    Args:
      text_BTD: Tokens and padding of the texts.
      more_BAD: A tokens that follow.
      length_B: int32, number of tokens of each text.

    Returns:
      [B, T + A, D]: both, and padding that may hold anything.
    """
    tokens, more = text_BTD.shape[1], more_BAD.shape[1]
    index_1S = jnp.arange(tokens + more)[None]
    offset_BS = jnp.clip(index_1S - length_B[:, None], 0, max(more - 1, 0))
    source_BS = jnp.where(index_1S < length_B[:, None], index_1S, tokens + offset_BS)
    both_BSD = jnp.concatenate([text_BTD, more_BAD], axis=1)
    return jnp.take_along_axis(both_BSD, source_BS[..., None], axis=1)
