"""Keys and values of the tokens that a decoder's blocks have read, kept while a text grows."""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class KeyValueCache:
    """Keys and values of the tokens that one block has read, [B, heads, S, dimensions] each.

    S counts slots, one per token from the first on; slots of tokens still to come hold 0.

    Attributes:
      key: Keys, which queries are compared with.
      value: Values, which attention mixes.
    """

    key: jax.Array
    value: jax.Array

    def update(self, newer: "KeyValueCache", cache_length_B: jax.Array) -> "KeyValueCache":
        """Writes the keys and values of the next tokens into each example's free slots.

        Args:
          newer: Keys and values of the next tokens alone.
          cache_length_B: int32, the slots in use, which is the index of the first free one.

        Returns:
          The cache of all tokens, of its own dtype.
        """

        def write_one(old: jax.Array, new: jax.Array, slot: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice(old, new, (0, slot, 0))

        def write(old: jax.Array, new: jax.Array) -> jax.Array:
            return jax.vmap(write_one)(old, new.astype(old.dtype), cache_length_B)

        return jax.tree.map(write, self, newer)

    def pad_to(self, slots: int) -> "KeyValueCache":
        """Returns the cache with `slots` slots, the new ones empty."""

        def pad(leaf: jax.Array) -> jax.Array:
            leading = ((0, 0),) * (leaf.ndim - 2)
            return jnp.pad(leaf, (*leading, (0, slots - leaf.shape[-2]), (0, 0)))

        return jax.tree.map(pad, self)


@struct.dataclass
class DecoderCache:
    """Keys and values that one block of an encoder-decoder model's decoder keeps.

    Attributes:
      self_attention: Cache of the text's tokens.
      cross_attention: Cache of the encoder's states; None for a block without cross-attention.
    """

    self_attention: KeyValueCache
    cross_attention: KeyValueCache | None

    def extend(self, slots: int) -> "DecoderCache":
        """Returns the cache with so many more slots for tokens of the text."""
        used = self.self_attention.key.shape[-2]
        return DecoderCache(self.self_attention.pad_to(used + slots), self.cross_attention)


CachedPrefix = tuple[KeyValueCache, jax.Array]
"""(cache, cache_length_B): the tokens before those that a block reads now. The length is int32, the
number of tokens in the cache, which is the slot of the next one."""

DecoderPrefix = tuple[DecoderCache, jax.Array]
"""(cache, cache_length_B) of a block of an encoder-decoder model's decoder; see `CachedPrefix`."""
