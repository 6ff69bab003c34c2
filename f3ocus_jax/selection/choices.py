"""How is a choice of layers held while thousands are compared? Packed bits and running totals.

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
      histogram_PL: int32, how many clients picked each layer.
      importance_P: float32, summed over all picks; carried along, so it holds rounding errors of
        the changes made so far.
    """

    words_PKW: jax.Array
    histogram_PL: jax.Array
    importance_P: jax.Array

    def __len__(self) -> int:
        return self.words_PKW.shape[0]

    def objectives(self) -> jax.Array:
        """Returns objectives_PM, float32, minimised."""
        return objectives.from_totals(self.importance_P, self.histogram_PL)


def pack(mask_L: jax.Array) -> jax.Array:
    """Packs layer masks into words.

    Args:
      mask_L: bool [..., L].

    Returns:
      words_W: uint32 [..., W].
    """
    width = num_words(mask_L.shape[-1])
    padding = [(0, 0)] * (mask_L.ndim - 1) + [(0, width * WORD_BITS - mask_L.shape[-1])]
    bits = jnp.pad(mask_L, padding).reshape(*mask_L.shape[:-1], width, WORD_BITS)
    values = jnp.left_shift(bits.astype(jnp.uint32), _places(bits.ndim))
    return jnp.sum(values, axis=-1, dtype=jnp.uint32)


def unpack(words_W: jax.Array, num_layers: int) -> jax.Array:
    """Undoes `pack`.

    Args:
      words_W: uint32 [..., W].
      num_layers: L.

    Returns:
      mask_L: bool [..., L].
    """
    shifted = jnp.right_shift(words_W[..., None], _places(words_W.ndim + 1)) & 1
    return shifted.reshape(*words_W.shape[:-1], -1)[..., :num_layers] == 1


def num_words(num_layers: int) -> int:
    """Returns W, the words that hold one bit per layer."""
    return -(-num_layers // WORD_BITS)


def from_words(words_PKW: jax.Array, scores_KL: jax.Array) -> Choices:
    """Counts the totals of packed choices from scratch.

    Args:
      words_PKW: uint32.
      scores_KL: float32, importance of every layer to every client.

    Returns:
      Choices.
    """

    def count(words_KW: jax.Array) -> tuple[jax.Array, jax.Array]:
        mask_KL = unpack(words_KW, scores_KL.shape[1])
        importance = jnp.sum(jnp.where(mask_KL, scores_KL, 0.0))
        return jnp.sum(mask_KL, axis=0, dtype=jnp.int32), importance

    return Choices(words_PKW, *jax.lax.map(count, words_PKW))


def take(choices: Choices, indices_P: jax.Array) -> Choices:
    """Returns the choices in the places given."""
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


def _places(axes: int) -> jax.Array:
    return jnp.arange(WORD_BITS, dtype=jnp.uint32).reshape((1,) * (axes - 1) + (WORD_BITS,))
