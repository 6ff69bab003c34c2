"""How is an answer chosen? Greedily, by beams, or as the likeliest of a list.

All of it runs inside jit with static shapes; finished answers are filled up with padding. The rules
are those of transformers' `generate`, so that the same model writes the same tokens.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import losses
from f3ocus_jax.models.generation.generator import Writer
from f3ocus_jax.types import Array, Batch, Params

Write: TypeAlias = Callable[[Params, Batch], jax.Array]
"""(parameters, batch) -> ids_BA, int32, each answer with its end and padding behind it."""

IMPOSSIBLE = -1e9
"""Log-probability of what is not to be chosen, as transformers has it."""


def greedy(writer: Writer, length: int) -> Write:
    """Makes the function that writes the likeliest token at every place.

    Args:
      writer: the model.
      length: A, tokens of an answer at most, its end among them.

    Returns:
      A Write.
    """

    def write(params: Params, batch: Batch) -> jax.Array:
        scores_BV, memory = writer.start(params, batch, length)
        ids_BA = jnp.full((len(scores_BV), length), writer.padding, jnp.int32)
        done_B = jnp.zeros(len(scores_BV), bool)

        def goes_on(state: tuple) -> jax.Array:
            step, _, done_B, _, _ = state
            return (step < length) & ~jnp.all(done_B)

        def add(state: tuple) -> tuple:
            step, ids_BA, done_B, scores_BV, memory = state
            token_B = jnp.argmax(scores_BV, axis=-1).astype(jnp.int32)
            token_B = jnp.where(done_B, writer.padding, token_B)
            ids_BA = ids_BA.at[:, step].set(token_B)
            done_B = done_B | (token_B == writer.end)
            logits_BTV, memory = writer.proceed(params, memory, token_B[:, None])
            return step + 1, ids_BA, done_B, logits_BTV[:, 0], memory

        start = (jnp.int32(0), ids_BA, done_B, scores_BV, memory)
        return jax.lax.while_loop(goes_on, add, start)[1]

    return write


@struct.dataclass
class Beams:
    """K unfinished and K finished answers of every example.

    Attributes:
      step: int32, tokens written so far.
      ids_BKA: the unfinished ones, padding behind them.
      total_BK: their log-probabilities.
      done_BKA: the finished ones.
      score_BK: their log-probabilities per token, best first; `IMPOSSIBLE` where there is none.
      is_done_BK: whether there is one.
      hopes_B: whether an unfinished one may still beat the worst finished one.
    """

    step: Array
    ids_BKA: Array
    total_BK: Array
    done_BKA: Array
    score_BK: Array
    is_done_BK: Array
    hopes_B: Array


def beam(writer: Writer, length: int, beams: int) -> Write:
    """Makes the function that keeps several answers open and writes the likeliest per token.

    Args:
      writer: the model.
      length: A, tokens of an answer at most, its end among them.
      beams: K, how many are kept.

    Returns:
      A Write.
    """

    def write(params: Params, batch: Batch) -> jax.Array:
        scores_BV, memory = writer.start(params, batch, length)
        examples = len(scores_BV)
        scores_BKV = jnp.repeat(scores_BV[:, None], beams, axis=1)

        def goes_on(state: tuple) -> jax.Array:
            return (state[0].step < length) & jnp.any(state[0].hopes_B)

        def add(state: tuple) -> tuple:
            found, scores_BKV, memory = state
            found, from_BK = _extend(writer, found, scores_BKV)
            places = from_BK + beams * jnp.arange(examples)[:, None]
            memory = memory.picked(places.reshape(-1))
            token_BK = jnp.take(found.ids_BKA, found.step - 1, axis=2)
            scores, memory = writer.proceed(params, memory, token_BK.reshape(-1, 1))
            return found, scores[:, 0].reshape(examples, beams, -1), memory

        start = (_no_beams(writer, examples, beams, length), scores_BKV, memory.repeated(beams))
        return jax.lax.while_loop(goes_on, add, start)[0].done_BKA[:, 0]

    return write


def rank(writer: Writer, answer_ids_CA: Array, answer_mask_CA: Array) -> Write:
    """Makes the function that takes the likelihood of every answer of a list.

    Args:
      writer: the model.
      answer_ids_CA: int32, tokens of the answers, each with its end.
      answer_mask_CA: 1 for a token and 0 for padding.

    Returns:
      (parameters, batch) -> logits_BC: log-probabilities of the answers.
    """
    answers = (jnp.asarray(answer_ids_CA), jnp.asarray(answer_mask_CA))

    def likelihoods(params: Params, batch: Batch) -> jax.Array:
        first_BV, memory = writer.start(params, batch, answers[0].shape[1])

        def of_one(answer: tuple[jax.Array, jax.Array]) -> jax.Array:
            ids_A, mask_A = answer
            ids_BA = jnp.broadcast_to(ids_A[None], (len(first_BV), len(ids_A)))
            logits_BTV, _ = writer.proceed(params, memory, ids_BA[:, :-1])
            logits_BAV = jnp.concatenate([first_BV[:, None], logits_BTV], axis=1)
            return losses.log_likelihood(logits_BAV, ids_BA, mask_A[None])

        return jax.lax.map(of_one, answers).T

    return likelihoods


def _no_beams(writer: Writer, examples: int, beams: int, length: int) -> Beams:
    ids_BKA = jnp.full((examples, beams, length), writer.padding, jnp.int32)
    impossible_BK = jnp.full((examples, beams), IMPOSSIBLE)
    return Beams(
        step=jnp.int32(0),
        ids_BKA=ids_BKA,
        # All beams begin alike, so that only one of them may be continued at first.
        total_BK=impossible_BK.at[:, 0].set(0.0),
        done_BKA=ids_BKA,
        score_BK=impossible_BK,
        is_done_BK=jnp.zeros((examples, beams), bool),
        hopes_B=jnp.ones(examples, bool),
    )


def _extend(writer: Writer, found: Beams, scores_BKV: jax.Array) -> tuple[Beams, jax.Array]:
    """Writes one more token of every unfinished answer.

    Returns:
      (beams, which beam of its example each unfinished answer continues, [B, K]).
    """
    examples, beams, words = scores_BKV.shape
    length = found.ids_BKA.shape[-1]
    totals_BKV = jax.nn.log_softmax(scores_BKV, axis=-1) + found.total_BK[..., None]
    # Twice as many candidates as beams, since those that end now are not continued.
    total_BJ, index_BJ = jax.lax.top_k(totals_BKV.reshape(examples, -1), 2 * beams)
    from_BJ, token_BJ = index_BJ // words, (index_BJ % words).astype(jnp.int32)
    ids_BJA = _pick(found.ids_BKA, from_BJ).at[:, :, found.step].set(token_BJ)
    step = found.step + 1
    ends_BJ = (token_BJ == writer.end) | (step == length)

    open_BJ = total_BJ + ends_BJ * IMPOSSIBLE
    _, next_BK = jax.lax.top_k(open_BJ, beams)
    candidates = (ids_BJA, total_BJ / step, ends_BJ & (jnp.arange(2 * beams) < beams)[None])
    found = _finish(found, *candidates)
    found = dataclasses.replace(
        found, step=step, ids_BKA=_pick(ids_BJA, next_BK), total_BK=_pick(open_BJ, next_BK)
    )
    worst_B = jnp.min(jnp.where(found.is_done_BK, found.score_BK, IMPOSSIBLE), axis=1)
    hopes_B = found.hopes_B & (found.total_BK[:, 0] / step > worst_B)
    return dataclasses.replace(found, hopes_B=hopes_B), _pick(from_BJ, next_BK)


def _finish(found: Beams, ids_BJA: jax.Array, score_BJ: jax.Array, ends_BJ: jax.Array) -> Beams:
    """Keeps the best of the finished answers and those that end now."""
    beams = found.score_BK.shape[1]
    score_BJ = jnp.where(ends_BJ & found.hopes_B[:, None], score_BJ, score_BJ + IMPOSSIBLE)
    merged_ids = jnp.concatenate([found.done_BKA, ids_BJA], axis=1)
    merged_scores = jnp.concatenate([found.score_BK, score_BJ], axis=1)
    merged_done = jnp.concatenate([found.is_done_BK, ends_BJ], axis=1)
    score_BK, best_BK = jax.lax.top_k(merged_scores, beams)
    return dataclasses.replace(
        found,
        done_BKA=_pick(merged_ids, best_BK),
        score_BK=score_BK,
        is_done_BK=_pick(merged_done, best_BK),
    )


def _pick(leaf: jax.Array, places_BK: jax.Array) -> jax.Array:
    """Takes places of the second axis, per example."""
    places = places_BK.reshape(*places_BK.shape, *(1,) * (leaf.ndim - 2))
    return jnp.take_along_axis(leaf, places, axis=1)
