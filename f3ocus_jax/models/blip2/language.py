"""How do the language models of BLIP-2 read an image's tokens and a question?"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import llama, opt, t5
from f3ocus_jax.models.blocks.causal_attention import Language
from f3ocus_jax.models.blocks.layers import Adapt, unchanged
from f3ocus_jax.models.blocks.llama import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.generation import causal_generator as causal_writer, generator as writing
from f3ocus_jax.models.generation.generator import GenerationState, Writer
from f3ocus_jax.types import Batch, Params, Rows


class Block(Protocol):
    """One block of the language model."""

    def __call__(
        self, row: Rows, hidden_BTD: jax.Array, sight: Any, adapt: Adapt = ...
    ) -> jax.Array:
        """Returns hidden_BTD."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A language model as functions of its parts.

    Attributes:
      above: names of its parts that run after its blocks.
      init: key -> all its parts: "words", "language_blocks", and those above.
      enter: (words, hidden_BTD) -> hidden_BTD, input of the first block.
      look: (words, mask_BT, tokens) -> sight of all blocks; the mask hides the question's padding,
        and further tokens may be read behind it.
      block: (row, hidden_BTD, sight, adapt) -> hidden_BTD.
      norm: (language_norm, hidden_BTD) -> hidden_BTD, after the last block.
      pool: (parts above, words, normed hidden_BTD, mask_BT) -> state_BD for an answer head.
      score: (parts above, words, normed hidden_BTD, mask_BT, ids_BA) -> logits_BAV of the tokens of
        taught answers.
      reads_behind: whether such answers are read behind the question, and not by a decoder.
    """

    above: tuple[str, ...]
    init: Callable[[jax.Array], dict[str, Params]]
    enter: Callable[[Params, jax.Array], jax.Array]
    look: Callable[[Params, jax.Array, int], Any]
    block: Block
    norm: Callable[[Params, jax.Array], jax.Array]
    pool: Callable[[Params, Params, jax.Array, jax.Array], jax.Array]
    score: Callable[[Params, Params, jax.Array, jax.Array, jax.Array], jax.Array]
    reads_behind: bool


def reader(config: OptConfig | LlamaConfig | T5Config) -> Reader:
    """Returns the language model of these sizes."""
    if isinstance(config, T5Config):
        return _of_t5(config)
    return _causal(causal_language(config))


def causal_language(config: OptConfig | LlamaConfig) -> Language:
    """Returns a language model that reads from left to right."""
    return opt.language(config) if isinstance(config, OptConfig) else llama.language(config)


def _causal(language: Language) -> Reader:
    """The answer head reads the last token."""

    def enter(words: Params, hidden_BTD: jax.Array) -> jax.Array:
        return language.enter(words, hidden_BTD, jnp.arange(hidden_BTD.shape[1])[None])

    def look(words: Params, mask_BT: jax.Array, tokens: int) -> Any:
        del words, mask_BT
        return language.look(jnp.arange(tokens)[None], tokens)

    def block(row: Rows, hidden_BTD: jax.Array, sight: Any, adapt: Adapt = unchanged) -> jax.Array:
        return language.block(row, hidden_BTD, sight, adapt, None)[0]

    def pool(above: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        del above, words
        last_B = jnp.sum(mask_BT, axis=1, dtype=jnp.int32) - 1
        return jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)[:, 0]

    def score(
        above: Params,
        words: Params,
        hidden_BTD: jax.Array,
        mask_BT: jax.Array,
        ids_BA: jax.Array,
    ) -> jax.Array:
        last_B, length = jnp.sum(mask_BT, axis=1, dtype=jnp.int32) - 1, ids_BA.shape[1]
        return causal_writer.answer_scores(language, above, words, hidden_BTD, last_B, length)

    functions = (enter, look, block, language.norm, pool, score)
    return Reader(language.above, language.init, *functions, reads_behind=True)


def _of_t5(config: T5Config) -> Reader:
    """The answer head reads the decoder's first state, so that encoder and decoder both count."""

    def block(row: Rows, hidden_BTD: jax.Array, sight: Any, adapt: Adapt = unchanged) -> jax.Array:
        return t5.apply_block(config, row, hidden_BTD, sight, adapt)

    def read(
        above: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array, ids_BT: jax.Array
    ) -> jax.Array:
        decoder, tokens = above["decoder"], ids_BT.shape[1]
        positions_BT = jnp.arange(tokens)[None]
        sight = t5.decoder_sight(config, decoder, positions_BT, tokens, hidden_BTD, mask_BT)
        return t5.decode(config, decoder, words, ids_BT, sight)[0]

    def pool(above: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        start_BT = jnp.full((len(hidden_BTD), 1), config.decoder_start_token_id, jnp.int32)
        return read(above, words, hidden_BTD, mask_BT, start_BT)[:, 0]

    def score(
        above: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array, ids_BA: jax.Array
    ) -> jax.Array:
        inputs_BA = writing.inputs(ids_BA, config.decoder_start_token_id)
        states_BAD = read(above, words, hidden_BTD, mask_BT, inputs_BA)
        return states_BAD @ above["scores"]["kernel"]

    return Reader(
        above=("language_norm", "decoder", "scores"),
        init=functools.partial(t5.init, config),
        enter=lambda words, hidden_BTD: hidden_BTD,
        look=lambda words, mask_BT, tokens: t5.look(config, words, mask_BT),
        block=block,
        norm=functools.partial(t5.norm, config),
        pool=pool,
        score=score,
        reads_behind=False,
    )


def t5_writer(
    config: T5Config, encoded: Callable[[Params, Batch], tuple[jax.Array, jax.Array]]
) -> Writer:
    """Makes the writer of a T5.

    Args:
      config: its sizes.
      encoded: (parameters, batch) -> (normed states of the encoder, mask_BT).

    Returns:
      The writer.
    """

    def start(params: Params, batch: Batch, room: int) -> tuple[jax.Array, GenerationState]:
        states_BTD, mask_BT = encoded(params, batch)
        above, words = params["readout"], params["embeddings"]["words"]
        position_BT = jnp.zeros((1, 1), jnp.int32)
        sight = t5.decoder_sight(config, above["decoder"], position_BT, 1, states_BTD, mask_BT)
        start_BT = jnp.full((len(states_BTD), 1), config.decoder_start_token_id, jnp.int32)
        hidden_BTD, memory_L = t5.decode(config, above["decoder"], words, start_BT, sight)
        place_B = jnp.ones(len(states_BTD), jnp.int32)
        memory = GenerationState(memory_L.widen(room), (states_BTD, mask_BT), place_B)
        return hidden_BTD[:, 0] @ above["scores"]["kernel"], memory

    def proceed(
        params: Params, memory: GenerationState, ids_BT: jax.Array
    ) -> tuple[jax.Array, GenerationState]:
        above, words, place_B = params["readout"], params["embeddings"]["words"], memory.place_B
        positions_BT = place_B[:, None] + jnp.arange(ids_BT.shape[1])[None]
        places = memory.cache_L.own.key.shape[3]
        decoder = above["decoder"]
        sight = t5.decoder_sight(config, decoder, positions_BT, places, *memory.fixed_B)
        hidden_BTD, memory_L = t5.proceed(
            config, decoder, words, ids_BT, sight, memory.cache_L, place_B
        )
        further = GenerationState(memory_L, memory.fixed_B, place_B + ids_BT.shape[1])
        return hidden_BTD @ above["scores"]["kernel"], further

    return Writer(start, proceed, end=config.eos_token_id, padding=config.pad_token_id)
