"""What must a model know to write an answer token by token, and how are answers taught?"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.types import Array, Batch, Params


@struct.dataclass
class GenerationState:
    """What a model keeps while it writes.

    Attributes:
      cache_L: keys and values, a pytree of [L, B, ...].
      fixed_B: what stays as it is, a pytree of [B, ...].
      place_B: int32, the next token's place among all that were read.
    """

    cache_L: Array
    fixed_B: Array
    place_B: Array

    def repeated(self, times: int) -> "GenerationState":
        """Returns a memory in which every example stands so many times in a row."""
        return GenerationState(
            cache_L=jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=1), self.cache_L),
            fixed_B=jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), self.fixed_B),
            place_B=jnp.repeat(self.place_B, times),
        )

    def picked(self, places_B: jax.Array) -> "GenerationState":
        """Returns a memory whose caches are those of other places of the batch."""
        taken = jax.tree.map(lambda leaf: jnp.take(leaf, places_B, axis=1), self.cache_L)
        return GenerationState(taken, self.fixed_B, self.place_B)


@dataclasses.dataclass(frozen=True)
class Writer:
    """How a model writes, as pure functions of all its parameters.

    Attributes:
      start: (parameters, batch, room) -> (scores_BV of the first token, memory with places for
        `room` tokens). The batch's answers are not looked at.
      proceed: (parameters, memory, ids_BT) -> (logits_BTV of the token behind each of these,
        memory that holds them).
      end: the token that ends an answer.
      padding: the token behind the end.
    """

    start: Callable[[Params, Batch, int], tuple[jax.Array, GenerationState]]
    proceed: Callable[[Params, GenerationState, jax.Array], tuple[jax.Array, GenerationState]]
    end: int
    padding: int


def taught(batch: Batch) -> tuple[jax.Array, jax.Array] | None:
    """Returns (ids_BA, mask_BA) of a batch's answers; None if it has none."""
    if batch.answer_ids_BA is None:
        return None
    return jnp.asarray(batch.answer_ids_BA), jnp.asarray(batch.answer_mask_BA)


def given(answers: tuple[jax.Array, jax.Array] | None) -> tuple[jax.Array, jax.Array]:
    """Returns the same answers; raises ValueError where there are none."""
    if answers is None:
        raise ValueError("this model writes answers, the batch has no answer_ids_BA to score")
    return answers


def hide(logits_BAV: jax.Array, mask_BA: jax.Array) -> jax.Array:
    """Replaces scores that no token of an answer is taken from by 0, so that nothing learns there.

    Args:
      logits_BAV: of the answers' tokens.
      mask_BA: 1 for a token and 0 for padding.

    Returns:
      logits_BAV, float32.
    """
    return jnp.where(mask_BA[..., None] > 0, logits_BAV.astype(jnp.float32), 0.0)


def inputs(ids_BA: jax.Array, start: int) -> jax.Array:
    """Returns what a decoder reads to score an answer's tokens: start, and all but the last."""
    return jnp.pad(ids_BA[:, :-1], ((0, 0), (1, 0)), constant_values=start)
