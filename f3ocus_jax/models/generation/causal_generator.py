"""Teacher-forced logits and generation of answers by decoder-only language models."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import causal_attention, language_model
from f3ocus_jax.models.blocks.language_model import LanguageModel
from f3ocus_jax.models.generation.generator import GenerationState, Generator
from f3ocus_jax.types import Batch, Params

EmbedQuestion = Callable[[Params, Batch], tuple[jax.Array, jax.Array]]
"""(parameters, batch without answers) -> (input of the language model's first block, last_B: index
of the question's last token in it)."""


def append_answers(
    words: Params, text_BTD: jax.Array, mask_BT: jax.Array, answer_ids_BA: jax.Array
) -> jax.Array:
    """Appends all tokens of the answers but their last, which nothing follows, to questions.

    Args:
      words: Part "words" of the language model.
      text_BTD: Embedded questions.
      mask_BT: 1 for a token of a question and 0 for padding.
      answer_ids_BA: int32, token ids of the answers.

    Returns:
      [B, T + A - 1, D].
    """
    answer_BAD = jnp.take(words["word"], answer_ids_BA[:, :-1], axis=0)
    length_B = jnp.sum(mask_BT, axis=1, dtype=jnp.int32)
    return causal_attention.append_tokens(text_BTD, answer_BAD, length_B)


def answer_logits(
    language: LanguageModel,
    above: Params,
    words: Params,
    hidden_BTD: jax.Array,
    last_B: jax.Array,
    length: int,
) -> jax.Array:
    """Computes the teacher-forced logits of answers that were appended to their questions.

    Args:
      language: Language model.
      above: Its parts above the blocks.
      words: Part "words" of it.
      hidden_BTD: Normed hidden states of question and answer.
      last_B: int32, index of the question's last token, which the answer's first one follows.
      length: A, number of answer tokens.

    Returns:
      logits_BAV, float32.
    """
    index_BA = last_B[:, None] + jnp.arange(length)[None]
    index_BA = jnp.minimum(index_BA, hidden_BTD.shape[1] - 1)
    taken_BAD = jnp.take_along_axis(hidden_BTD, index_BA[..., None], axis=1)
    return language.logits(words, above, taken_BAD)


def make_causal_generator(
    language: LanguageModel,
    embed_question: EmbedQuestion,
    *,
    is_selectable: bool,
    end_token: int,
    padding_token: int,
) -> Generator:
    """Makes the generator of a model whose answers follow the question in one sequence.

    Args:
      language: Language model.
      embed_question: Runs all that stands below the language model's blocks.
      is_selectable: True if the language model's blocks are the rows of the selectable stack.
      end_token: Token id that ends an answer.
      padding_token: Token id after the end.

    Returns:
      The generator.
    """

    def rows(params: Params) -> Params:
        if is_selectable:
            return {key: params[key] for key in ("blocks", "adapters", "lora") if key in params}
        return {"blocks": params["readout"]["language_blocks"], "adapters": {}}

    def logits(params: Params, hidden_BTD: jax.Array) -> jax.Array:
        above, words = params["readout"], params["embeddings"]["words"]
        hidden_BTD = language.norm(above["language_norm"], hidden_BTD)
        return language.logits(words, above, hidden_BTD)

    def prefill(
        params: Params, batch: Batch, max_new_tokens: int
    ) -> tuple[jax.Array, GenerationState]:
        batch = dataclasses.replace(batch, answer_ids_BA=None, answer_mask_BA=None)
        hidden_BTD, last_B = embed_question(params, batch)
        hidden_BTD, cache_L = language_model.prefill(
            language, rows(params), hidden_BTD, max_new_tokens
        )
        last_B1D = jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)
        return logits(params, last_B1D)[:, 0], GenerationState(cache_L, (), last_B + 1)

    def decode_step(
        params: Params, state: GenerationState, ids_BT: jax.Array
    ) -> tuple[jax.Array, GenerationState]:
        words, length_B = params["embeddings"]["words"], state.cache_length_B
        positions_BT = length_B[:, None] + jnp.arange(ids_BT.shape[1])[None]
        hidden_BTD = jnp.take(words["word"], ids_BT, axis=0)
        hidden_BTD = language.add_positions(words, hidden_BTD, positions_BT)
        hidden_BTD, cache_L = language_model.decode_step(
            language, rows(params), hidden_BTD, state.cache_L, length_B
        )
        state = GenerationState(cache_L, (), length_B + ids_BT.shape[1])
        return logits(params, hidden_BTD), state

    return Generator(prefill, decode_step, end_token, padding_token)
