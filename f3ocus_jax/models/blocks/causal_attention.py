"""How does a token look at those before it, whose keys and values are kept while a text grows?

Padding stands on the right, behind all that is read, so that what is causal hides it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models.blocks import adapters, lora
from f3ocus_jax.models.blocks.layers import Adapt
from f3ocus_jax.types import Array, Params, Rows


@struct.dataclass
class Cache:
    """Keys and values of the tokens that one block has read, [B, heads, S, dimensions] each.

    Attributes:
      key: what queries are compared with.
      value: what is mixed.
    """

    key: Array
    value: Array

    def write(self, newer: "Cache", place_B: jax.Array) -> "Cache":
        """Returns the cache with the keys and values of later tokens from each example's place."""

        def write_one(all: jax.Array, some: jax.Array, place: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice(all, some, (0, place, 0))

        def write(all: jax.Array, some: jax.Array) -> jax.Array:
            return jax.vmap(write_one)(all, some.astype(all.dtype), place_B)

        return jax.tree.map(write, self, newer)

    def widen(self, places: int) -> "Cache":
        """Returns the cache with room for so many tokens."""

        def widen(leaf: jax.Array) -> jax.Array:
            before = ((0, 0),) * (leaf.ndim - 2)
            return jnp.pad(leaf, (*before, (0, places - leaf.shape[-2]), (0, 0)))

        return jax.tree.map(widen, self)


@struct.dataclass
class DecoderCache:
    """What one block of a decoder keeps.

    Attributes:
      own: of the text's tokens.
      seen: of the states that it looks at; None for a block that looks at none.
    """

    own: Cache
    seen: Cache | None

    def widen(self, room: int) -> "DecoderCache":
        """Returns the memory with room for so many tokens more."""
        return DecoderCache(self.own.widen(self.own.key.shape[-2] + room), self.seen)


Past = tuple[Cache, jax.Array]
"""A block's cache, and each example's place in it for the first of the tokens that are read now."""


@dataclasses.dataclass(frozen=True)
class Language:
    """A language model that reads from left to right, as functions of its parts.

    Attributes:
      width: D.
      above: names of its parts that run after its blocks: "language_norm", and "scores" where the
        map to scores is not the word embeddings.
      init: key -> all its parts: "words", "language_blocks", and those above.
      enter: (words, hidden_BTD of words, positions_BT) -> hidden_BTD, input of the first block.
      look: (positions_BT, places) -> what a block must know of the positions, and which of so many
        places each token may look at.
      block: (row, hidden_BTD, sight, adapt, past) -> (hidden_BTD, cache).
      norm: (language_norm, hidden_BTD) -> hidden_BTD, after the last block.
      score: (words, parts above, hidden_BTD) -> logits_BTV of the next token, float32.
    """

    width: int
    above: tuple[str, ...]
    init: Callable[[jax.Array], dict[str, Params]]
    enter: Callable[[Params, jax.Array, jax.Array], jax.Array]
    look: Callable[[jax.Array, int], Any]
    block: Callable[[Rows, jax.Array, Any, Adapt, Past | None], tuple[jax.Array, Cache]]
    norm: Callable[[Params, jax.Array], jax.Array]
    score: Callable[[Params, Params, jax.Array], jax.Array]


def causal_mask(positions_BT: jax.Array, places: int) -> jax.Array:
    """Lets tokens look at themselves and at all before them.

    Args:
      positions_BT: int32, where the tokens are in their sequence; B may be 1 for all examples.
      places: S, how many places of the sequence there are to look at, from 0 on.

    Returns:
      bias_B1TS, added to attention scores.
    """
    visible_BTS = jnp.arange(places)[None, None] <= positions_BT[..., None]
    return jnp.where(visible_BTS, 0.0, jnp.finfo(jnp.float32).min)[:, None]


def split_heads(projected_BTD: jax.Array, heads: int) -> jax.Array:
    """Returns [B, heads, T, D / heads]."""
    batch, tokens, width = projected_BTD.shape
    return projected_BTD.reshape(batch, tokens, heads, width // heads).swapaxes(1, 2)


def attend(
    query: jax.Array, cache: Cache, bias_BHTS: jax.Array, scale: float | None = None
) -> jax.Array:
    """Mixes values by how well their keys fit the queries.

    Args:
      query: [B, heads, T, dimensions].
      cache: of the tokens that are looked at; with fewer heads, each is shared by several queries.
      bias_BHTS: added to the scores; an axis of 1 stands for all.
      scale: of the scores; one over the root of the dimensions if None.

    Returns:
      [B, T, heads · dimensions].
    """
    batch, heads, tokens, width = query.shape
    groups = cache.key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups, tokens, width)
    scores = grouped @ cache.key[:, :, None].swapaxes(-1, -2)
    scores = scores * (width**-0.5 if scale is None else scale)
    scores = scores.astype(jnp.float32) + bias_BHTS[:, :, None]
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    mixed = (shares @ cache.value[:, :, None]).reshape(batch, heads, tokens, width)
    return mixed.swapaxes(1, 2).reshape(batch, tokens, heads * width)


def append(text_BTD: jax.Array, more_BAD: jax.Array, length_B: jax.Array) -> jax.Array:
    """Puts tokens directly behind those of a text that is padded on the right.

    Args:
      text_BTD: the text's tokens and padding.
      more_BAD: what comes behind.
      length_B: int32, the text's tokens.

    Returns:
      [B, T + A, D]: both, and padding that may hold anything.
    """
    tokens, more = text_BTD.shape[1], more_BAD.shape[1]
    place_1S = jnp.arange(tokens + more)[None]
    behind_BS = jnp.clip(place_1S - length_B[:, None], 0, max(more - 1, 0))
    source_BS = jnp.where(place_1S < length_B[:, None], place_1S, tokens + behind_BS)
    both_BSD = jnp.concatenate([text_BTD, more_BAD], axis=1)
    return jnp.take_along_axis(both_BSD, source_BS[..., None], axis=1)


def read(
    language: Language, rows_L: Params, hidden_BTD: jax.Array, room: int
) -> tuple[jax.Array, Cache]:
    """Reads a text from its first token on.

    Args:
      language: the model.
      rows_L: its "blocks", their "adapters", and "lora" where they have low-rank changes; leading
        layer axis.
      hidden_BTD: input of the first block.
      room: how many further tokens the caches shall have places for.

    Returns:
      (hidden_BTD after the last block, caches with leading layer axis).
    """
    tokens = hidden_BTD.shape[1]
    sight = language.look(jnp.arange(tokens)[None], tokens)

    def step(hidden: jax.Array, row: Params) -> tuple[jax.Array, Cache]:
        hidden, cache = _run(language, row, hidden, sight, None)
        return hidden, cache.widen(tokens + room)

    return jax.lax.scan(step, hidden_BTD, rows_L)


def proceed(
    language: Language,
    rows_L: Params,
    hidden_BTD: jax.Array,
    cache_L: Cache,
    place_B: jax.Array,
) -> tuple[jax.Array, Cache]:
    """Reads further tokens of a text; see `read`.

    Args:
      language: the model.
      rows_L: as of `read`.
      hidden_BTD: input of the first block, of the further tokens.
      cache_L: of the tokens before.
      place_B: int32, the first further token's place among all.

    Returns:
      (hidden_BTD after the last block, caches with these tokens).
    """
    positions_BT = place_B[:, None] + jnp.arange(hidden_BTD.shape[1])[None]
    sight = language.look(positions_BT, cache_L.key.shape[3])

    def step(hidden: jax.Array, rows: tuple[Params, Cache]) -> tuple[jax.Array, Cache]:
        row, cache = rows
        return _run(language, row, hidden, sight, (cache, place_B))

    return jax.lax.scan(step, hidden_BTD, (rows_L, cache_L))


def _run(
    language: Language, row: Params, hidden_BTD: jax.Array, sight: Any, past: Past | None
) -> tuple[jax.Array, Cache]:
    """Runs one block with all that is added to it, as `base.run_block` does without a cache."""

    def adapt(fed_BTD: jax.Array) -> jax.Array:
        return adapters.apply(row["adapters"], fed_BTD).astype(fed_BTD.dtype)

    with lora.applied(row.get("lora")):
        output_BTD, cache = language.block(row["blocks"], hidden_BTD, sight, adapt, past)
    return output_BTD.astype(hidden_BTD.dtype), cache
