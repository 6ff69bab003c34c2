"""The interface by which a model generates answers token by token, and its targets in training."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.types import Batch, Params


@struct.dataclass
class GenerationState:
    """What a model keeps between two tokens that it generates.

    Attributes:
      cache_L: Keys and values, a pytree of [L, B, ...].
      encoder_B: Encoder states and mask, a pytree of [B, ...]; `()` in a decoder-only model.
      cache_length_B: int32, number of tokens in the cache, which is the slot of the next one.
    """

    cache_L: Any
    encoder_B: Any
    cache_length_B: jax.Array

    def repeat(self, times: int) -> "GenerationState":
        """Returns the state of a batch in which every example stands `times` times in a row."""
        return GenerationState(
            cache_L=jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=1), self.cache_L),
            encoder_B=jax.tree.map(lambda leaf: jnp.repeat(leaf, times, axis=0), self.encoder_B),
            cache_length_B=jnp.repeat(self.cache_length_B, times),
        )

    def take_caches(self, index_B: jax.Array) -> "GenerationState":
        """Returns a state with the caches of other members of the batch."""
        taken = jax.tree.map(lambda leaf: jnp.take(leaf, index_B, axis=1), self.cache_L)
        return GenerationState(taken, self.encoder_B, self.cache_length_B)


@dataclasses.dataclass(frozen=True)
class Generator:
    """Answer generation by a model, as pure functions of all its parameters.

    Attributes:
      prefill: Maps (parameters, batch, max_new_tokens) to (logits_BV of the first token, state with
        free slots for `max_new_tokens` tokens). The batch's own answers are not read.
      decode_step: Maps (parameters, state, ids_BT) to (logits_BTV of the token that follows each of
        these, state that holds them).
      end_token: Token id that ends an answer.
      padding_token: Token id after the end.
    """

    prefill: Callable[[Params, Batch, int], tuple[jax.Array, GenerationState]]
    decode_step: Callable[[Params, GenerationState, jax.Array], tuple[jax.Array, GenerationState]]
    end_token: int
    padding_token: int


def target_answers(batch: Batch) -> tuple[jax.Array, jax.Array] | None:
    """Returns (ids_BA, mask_BA) of a batch's answers; None if it has none."""
    if batch.answer_ids_BA is None:
        return None
    return jnp.asarray(batch.answer_ids_BA), jnp.asarray(batch.answer_mask_BA)


def require_answers(answers: tuple[jax.Array, jax.Array] | None) -> tuple[jax.Array, jax.Array]:
    """Returns the given answers; raises ValueError if they are None."""
    if answers is None:
        raise ValueError("this model writes answers, the batch has no answer_ids_BA to score")
    return answers


def mask_logits(logits_BAV: jax.Array, mask_BA: jax.Array) -> jax.Array:
    """Sets the logits at padding to 0, so that no gradient comes from there.

    Args:
      logits_BAV: Logits of the answers' tokens.
      mask_BA: 1 for a token and 0 for padding.

    Returns:
      logits_BAV, float32.
    """
    return jnp.where(mask_BA[..., None] > 0, logits_BAV.astype(jnp.float32), 0.0)


def shift_right(ids_BA: jax.Array, start_token: int) -> jax.Array:
    """Returns the decoder's input under teacher forcing: start token, then all ids but the last."""
    return jnp.pad(ids_BA[:, :-1], ((0, 0), (1, 0)), constant_values=start_token)
