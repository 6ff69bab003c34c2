"""Choices of layers as packed bits with running totals.

A population of 100 choices for 1 000 clients and 48 layers is 4.8 million booleans; copying and
recounting them would cost more than the search. Here a client's row is W = ⌈L / 32⌉ words of 32
bits, and every choice carries the totals that its objectives need, so that a change to J of the K
clients costs O(J L).
"""

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import objectives

WORD_BITS = 32


@struct.dataclass
class Choices:
    """P choices of layers.

    Attributes:
      words_PKW: uint32, bit l mod 32 of word l div 32 is set where client k trains layer l.
      histogram_PL: int32, number of clients that picked each layer.
      importance_P: float32, sum of the scores of all picks; updated incrementally, so it holds the
        rounding errors of the changes made so far.
    """

    words_PKW: jax.Array
    histogram_PL: jax.Array
    importance_P: jax.Array

    def __len__(self) -> int:
        return self.words_PKW.shape[0]

    def objectives(self) -> jax.Array:
        """Returns objectives_PM, float32, minimised."""
        return objectives.from_totals(self.importance_P, self.histogram_PL)


def pack(mask: jax.Array, axis: int = -1) -> jax.Array:
    """Packs layer masks into words.

    Args:
      mask: bool, L layers along the axis.
      axis: Axis of the layers.

    Returns:
      uint32, W words along the axis.
    """
    axis %= mask.ndim
    before, after = mask.shape[:axis], mask.shape[axis + 1 :]
    width = num_words(mask.shape[axis])
    padding = [(0, 0)] * mask.ndim
    padding[axis] = (0, width * WORD_BITS - mask.shape[axis])
    bits = jnp.pad(mask, padding).reshape(*before, width, WORD_BITS, *after).astype(jnp.uint32)
    shifts = jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis + 1)
    return jnp.sum(jnp.left_shift(bits, shifts), axis=axis + 1, dtype=jnp.uint32)


def unpack(words: jax.Array, num_layers: int, axis: int = -1) -> jax.Array:
    """Undoes `pack`.

    Args:
      words: uint32, W words along the axis.
      num_layers: L.
      axis: Axis of the words.

    Returns:
      bool, L layers along the axis.
    """
    axis %= words.ndim
    before, after = words.shape[:axis], words.shape[axis + 1 :]
    shape = (*before, words.shape[axis], WORD_BITS, *after)
    shifts = jax.lax.broadcasted_iota(jnp.uint32, shape, axis + 1)
    bits = jnp.right_shift(jnp.expand_dims(words, axis + 1), shifts) & 1
    bits = bits.reshape(*before, -1, *after) == 1
    return jax.lax.slice_in_dim(bits, 0, num_layers, axis=axis)


def num_words(num_layers: int) -> int:
    """Returns W, the number of words that hold one bit per layer."""
    return -(-num_layers // WORD_BITS)


def from_words(words_PKW: jax.Array, scores_KL: jax.Array) -> Choices:
    """Counts the totals of packed choices from scratch.

    Args:
      words_PKW: uint32, packed choices.
      scores_KL: float32, importance of every layer to every client.

    Returns:
      Choices.
    """

    def count(words_KW: jax.Array) -> tuple[jax.Array, jax.Array]:
        mask_KL = unpack(words_KW, scores_KL.shape[1])
        importance = jnp.sum(jnp.where(mask_KL, scores_KL, 0.0))
        return jnp.sum(mask_KL, axis=0, dtype=jnp.int32), importance

    return Choices(words_PKW, *jax.lax.map(count, words_PKW, batch_size=batch_size(scores_KL)))


def batch_size(scores_KL: jax.Array) -> int:
    """Returns the number of choices to unpack at the same time, so that memory stays bounded."""
    return max(1, 2**20 // scores_KL.size)


def take(choices: Choices, indices_P: jax.Array) -> Choices:
    """Returns the choices at the given indices."""
    return jax.tree.map(lambda leaf: leaf[indices_P], choices)


def concatenate(*parts: Choices) -> Choices:
    """Returns the choices of all parts, in order."""
    return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)


def where(condition_P: jax.Array, first: Choices, second: Choices) -> Choices:
    """Returns the first's choices where the condition holds, and the second's elsewhere."""
    return jax.tree.map(
        lambda a, b: jnp.where(condition_P.reshape((-1,) + (1,) * (a.ndim - 1)), a, b),
        first,
        second,
    )
