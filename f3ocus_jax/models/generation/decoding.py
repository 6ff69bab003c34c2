"""Decoding strategies: greedy search, beam search, and ranking of a list of answers.

All of them jit with static shapes; finished answers are filled up with padding. The rules
are those of transformers' `generate`, so that the same model generates the same tokens.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import losses
from f3ocus_jax.models.generation.generator import GenerationState, Generator
from f3ocus_jax.types import Array, Batch, Params

Decode: TypeAlias = Callable[[Params, Batch], jax.Array]
"""(parameters, batch) -> ids_BA, int32: each answer, its end, and padding."""

Rank: TypeAlias = Callable[[Params, Batch], jax.Array]
"""(parameters, batch) -> log-probabilities of C given answers, float32 [B, C]."""

IMPOSSIBLE = -1e9
"""Log-probability of what must not be chosen, the value that transformers uses."""


def make_greedy_search(generator: Generator, length: int) -> Decode:
    """Makes the function that generates the most likely token at every step.

    Args:
      generator: Generator of the model.
      length: A, maximum number of tokens of an answer, its end included.

    Returns:
      A `Decode`.
    """

    def decode(params: Params, batch: Batch) -> jax.Array:
        logits_BV, state = generator.prefill(params, batch, length)
        ids_BA = jnp.full((len(logits_BV), length), generator.padding_token, jnp.int32)
        done_B = jnp.zeros(len(logits_BV), bool)

        def is_unfinished(carry: tuple) -> jax.Array:
            step, _, done_B, _, _ = carry
            return (step < length) & ~jnp.all(done_B)

        def add_token(carry: tuple) -> tuple:
            step, ids_BA, done_B, logits_BV, state = carry
            token_B = jnp.argmax(logits_BV, axis=-1).astype(jnp.int32)
            token_B = jnp.where(done_B, generator.padding_token, token_B)
            ids_BA = ids_BA.at[:, step].set(token_B)
            done_B = done_B | (token_B == generator.end_token)
            logits_BTV, state = generator.decode_step(params, state, token_B[:, None])
            return step + 1, ids_BA, done_B, logits_BTV[:, 0], state

        start = (jnp.int32(0), ids_BA, done_B, logits_BV, state)
        return jax.lax.while_loop(is_unfinished, add_token, start)[1]

    return decode


@struct.dataclass
class Beams:
    """K unfinished and K finished answers of every example.

    Attributes:
      step: int32 [], number of tokens generated so far.
      ids_BKA: Token ids of the unfinished answers, padded.
      log_probability_BK: float32, log-probabilities of the unfinished answers.
      finished_ids_BKA: Token ids of the finished answers, padded.
      finished_mean_BK: float32, log-probabilities of the finished answers per token, best first;
        at most `IMPOSSIBLE` for an answer that does not exist.
      is_finished_BK: True for a finished answer that exists.
      may_improve_B: True while an unfinished answer may still beat the worst finished one.
    """

    step: jax.Array
    ids_BKA: jax.Array
    log_probability_BK: jax.Array
    finished_ids_BKA: jax.Array
    finished_mean_BK: jax.Array
    is_finished_BK: jax.Array
    may_improve_B: jax.Array


def make_beam_search(generator: Generator, length: int, beams: int) -> Decode:
    """Makes the function that generates the answer of the highest log-probability per token found.

    Args:
      generator: Generator of the model.
      length: A, maximum number of tokens of an answer, its end included.
      beams: K, number of unfinished answers that are kept.

    Returns:
      A `Decode`.
    """

    def decode(params: Params, batch: Batch) -> jax.Array:
        logits_BV, state = generator.prefill(params, batch, length)
        examples = len(logits_BV)
        logits_BKV = jnp.repeat(logits_BV[:, None], beams, axis=1)

        def is_unfinished(carry: tuple[Beams, jax.Array, GenerationState]) -> jax.Array:
            return (carry[0].step < length) & jnp.any(carry[0].may_improve_B)

        def add_token(
            carry: tuple[Beams, jax.Array, GenerationState],
        ) -> tuple[Beams, jax.Array, GenerationState]:
            found, logits_BKV, state = carry
            found, parent_BK = _extend(generator, found, logits_BKV)
            index_BK = parent_BK + beams * jnp.arange(examples)[:, None]
            state = state.take_caches(index_BK.reshape(-1))
            token_BK = jnp.take(found.ids_BKA, found.step - 1, axis=2)
            logits_XTV, state = generator.decode_step(params, state, token_BK.reshape(-1, 1))
            return found, logits_XTV[:, 0].reshape(examples, beams, -1), state

        start = (_no_beams(generator, examples, beams, length), logits_BKV, state.repeat(beams))
        found, _, _ = jax.lax.while_loop(is_unfinished, add_token, start)
        return found.finished_ids_BKA[:, 0]

    return decode


def make_ranking(generator: Generator, answer_ids_CA: Array, answer_mask_CA: Array) -> Rank:
    """Makes the function that computes the log-probability of every answer of a list.

    Args:
      generator: Generator of the model.
      answer_ids_CA: int32, token ids of the answers, each with its end.
      answer_mask_CA: 1 for a token and 0 for padding.

    Returns:
      A `Rank`.
    """
    answers = (jnp.asarray(answer_ids_CA), jnp.asarray(answer_mask_CA))

    def rank(params: Params, batch: Batch) -> jax.Array:
        first_BV, state = generator.prefill(params, batch, answers[0].shape[1])

        def log_probability(answer: tuple[jax.Array, jax.Array]) -> jax.Array:
            ids_A, mask_A = answer
            ids_BA = jnp.broadcast_to(ids_A[None], (len(first_BV), len(ids_A)))
            logits_BTV, _ = generator.decode_step(params, state, ids_BA[:, :-1])
            logits_BAV = jnp.concatenate([first_BV[:, None], logits_BTV], axis=1)
            return losses.log_likelihood(logits_BAV, ids_BA, mask_A[None])

        return jax.lax.map(log_probability, answers).T

    return rank


def _no_beams(generator: Generator, examples: int, beams: int, length: int) -> Beams:
    ids_BKA = jnp.full((examples, beams, length), generator.padding_token, jnp.int32)
    impossible_BK = jnp.full((examples, beams), IMPOSSIBLE)
    return Beams(
        step=jnp.int32(0),
        ids_BKA=ids_BKA,
        # All beams begin alike, so that only one of them may be continued at first.
        log_probability_BK=impossible_BK.at[:, 0].set(0.0),
        finished_ids_BKA=ids_BKA,
        finished_mean_BK=impossible_BK,
        is_finished_BK=jnp.zeros((examples, beams), bool),
        may_improve_B=jnp.ones(examples, bool),
    )


def _extend(generator: Generator, found: Beams, logits_BKV: jax.Array) -> tuple[Beams, jax.Array]:
    """Adds one token to every unfinished answer.

    Returns:
      (beams, index of the beam of its example that each unfinished answer continues, [B, K]).
    """
    examples, beams, words = logits_BKV.shape
    length = found.ids_BKA.shape[-1]
    totals_BKV = jax.nn.log_softmax(logits_BKV, axis=-1) + found.log_probability_BK[..., None]
    # Twice as many candidates as beams, since those that end now are not continued.
    total_BJ, index_BJ = jax.lax.top_k(totals_BKV.reshape(examples, -1), 2 * beams)
    parent_BJ, token_BJ = index_BJ // words, (index_BJ % words).astype(jnp.int32)
    ids_BJA = _take(found.ids_BKA, parent_BJ).at[:, :, found.step].set(token_BJ)
    step = found.step + 1
    ends_BJ = (token_BJ == generator.end_token) | (step == length)

    open_BJ = total_BJ + ends_BJ * IMPOSSIBLE
    _, next_BK = jax.lax.top_k(open_BJ, beams)
    candidates = (ids_BJA, total_BJ / step, ends_BJ & (jnp.arange(2 * beams) < beams)[None])
    found = dataclasses.replace(
        _finish(found, *candidates),
        step=step,
        ids_BKA=_take(ids_BJA, next_BK),
        log_probability_BK=_take(open_BJ, next_BK),
    )
    worst_B = jnp.min(jnp.where(found.is_finished_BK, found.finished_mean_BK, IMPOSSIBLE), axis=1)
    may_improve_B = found.may_improve_B & (found.log_probability_BK[:, 0] / step > worst_B)
    return dataclasses.replace(found, may_improve_B=may_improve_B), _take(parent_BJ, next_BK)


def _finish(found: Beams, ids_BJA: jax.Array, mean_BJ: jax.Array, ends_BJ: jax.Array) -> Beams:
    """Keeps the best of the finished answers and those that end now."""
    beams = found.finished_mean_BK.shape[1]
    counts_BJ = ends_BJ & found.may_improve_B[:, None]
    mean_BJ = jnp.where(counts_BJ, mean_BJ, mean_BJ + IMPOSSIBLE)
    merged_ids = jnp.concatenate([found.finished_ids_BKA, ids_BJA], axis=1)
    merged_means = jnp.concatenate([found.finished_mean_BK, mean_BJ], axis=1)
    merged_finished = jnp.concatenate([found.is_finished_BK, ends_BJ], axis=1)
    mean_BK, best_BK = jax.lax.top_k(merged_means, beams)
    return dataclasses.replace(
        found,
        finished_ids_BKA=_take(merged_ids, best_BK),
        finished_mean_BK=mean_BK,
        is_finished_BK=_take(merged_finished, best_BK),
    )


def _take(leaf: jax.Array, index_BK: jax.Array) -> jax.Array:
    """Takes elements along the second axis, per example."""
    index = index_BK.reshape(*index_BK.shape, *(1,) * (leaf.ndim - 2))
    return jnp.take_along_axis(leaf, index, axis=1)
