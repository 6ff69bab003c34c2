"""Language models of BLIP-2, as they read the tokens of an image and a question."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import llama, opt, t5, t5_decoder
from f3ocus_jax.models.blocks.language_model import LanguageModel
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.generation import causal_generator, generator as generator_lib
from f3ocus_jax.models.generation.generator import GenerationState, Generator
from f3ocus_jax.types import Batch, Params, Rows


class Block(Protocol):
    """One block of the language model."""

    def __call__(
        self, row: Rows, hidden_BTD: jax.Array, attention_inputs: Any, adapt: Adapt = ...
    ) -> jax.Array:
        """Returns hidden_BTD."""


@dataclasses.dataclass(frozen=True)
class Reader:
    """A language model as functions of its submodules.

    Attributes:
      after: Names of the submodules after its blocks.
      init: Maps a typed random key to the submodules: "words", "language_blocks", and those after.
      add_positions: Maps (words, hidden_BTD) to hidden_BTD, the input of the first block.
      make_attention_inputs: Maps (words, mask_BT, tokens) to the attention inputs of all blocks.
        The mask hides the question's padding; further tokens may follow it.
      block: Maps (row, hidden_BTD, attention_inputs, adapt) to hidden_BTD.
      norm: Maps (language_norm, hidden_BTD) to hidden_BTD, after the last block.
      pool: Maps (submodules after, words, normed hidden_BTD, mask_BT) to state_BD for an answer
        head.
      answer_logits: Maps (submodules after, words, normed hidden_BTD, mask_BT, ids_BA) to
        logits_BAV of the tokens of target answers.
      appends_answers: True if target answers follow the question in the same sequence; False if a
        decoder reads them.
    """

    after: tuple[str, ...]
    init: Callable[[jax.Array], dict[str, Params]]
    add_positions: Callable[[Params, jax.Array], jax.Array]
    make_attention_inputs: Callable[[Params, jax.Array, int], Any]
    block: Block
    norm: Callable[[Params, jax.Array], jax.Array]
    pool: Callable[[Params, Params, jax.Array, jax.Array], jax.Array]
    answer_logits: Callable[[Params, Params, jax.Array, jax.Array, jax.Array], jax.Array]
    appends_answers: bool


def make_reader(config: OptConfig | LlamaConfig | T5Config) -> Reader:
    """Returns the language model of these sizes."""
    if isinstance(config, T5Config):
        return _t5_reader(config)
    return _causal_reader(causal_language(config))


def causal_language(config: OptConfig | LlamaConfig) -> LanguageModel:
    """Returns a language model that reads from left to right."""
    return (
        opt.make_language_model(config)
        if isinstance(config, OptConfig)
        else llama.make_language_model(config)
    )


def _causal_reader(language: LanguageModel) -> Reader:
    """Makes the reader of a causal language model; its answer head reads the last token."""

    def add_positions(words: Params, hidden_BTD: jax.Array) -> jax.Array:
        return language.add_positions(words, hidden_BTD, jnp.arange(hidden_BTD.shape[1])[None])

    def make_attention_inputs(words: Params, mask_BT: jax.Array, tokens: int) -> Any:
        del words, mask_BT
        return language.make_attention_inputs(jnp.arange(tokens)[None], tokens)

    def block(
        row: Rows, hidden_BTD: jax.Array, attention_inputs: Any, adapt: Adapt = identity
    ) -> jax.Array:
        return language.block(row, hidden_BTD, attention_inputs, adapt, None)[0]

    def pool(after: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        del after, words
        last_B = jnp.sum(mask_BT, axis=1, dtype=jnp.int32) - 1
        return jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)[:, 0]

    def answer_logits(
        after: Params,
        words: Params,
        hidden_BTD: jax.Array,
        mask_BT: jax.Array,
        ids_BA: jax.Array,
    ) -> jax.Array:
        last_B, length = jnp.sum(mask_BT, axis=1, dtype=jnp.int32) - 1, ids_BA.shape[1]
        return causal_generator.answer_logits(language, after, words, hidden_BTD, last_B, length)

    functions = (add_positions, make_attention_inputs, block, language.norm, pool, answer_logits)
    return Reader(language.above, language.init, *functions, appends_answers=True)


def _t5_reader(config: T5Config) -> Reader:
    """Makes the reader of a T5; its answer head reads the decoder's first state."""

    def block(
        row: Rows, hidden_BTD: jax.Array, attention_inputs: Any, adapt: Adapt = identity
    ) -> jax.Array:
        return t5.apply_block(config, row, hidden_BTD, attention_inputs, adapt)

    def read(
        after: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array, ids_BT: jax.Array
    ) -> jax.Array:
        decoder, tokens = after["decoder"], ids_BT.shape[1]
        positions_BT = jnp.arange(tokens)[None]
        attention_inputs = t5_decoder.make_attention_inputs(
            config, decoder, positions_BT, tokens, hidden_BTD, mask_BT
        )
        return t5_decoder.prefill(config, decoder, words, ids_BT, attention_inputs)[0]

    def pool(after: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        start_BT = jnp.full((len(hidden_BTD), 1), config.decoder_start_token_id, jnp.int32)
        return read(after, words, hidden_BTD, mask_BT, start_BT)[:, 0]

    def answer_logits(
        after: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array, ids_BA: jax.Array
    ) -> jax.Array:
        inputs_BA = generator_lib.shift_right(ids_BA, config.decoder_start_token_id)
        states_BAD = read(after, words, hidden_BTD, mask_BT, inputs_BA)
        return states_BAD @ after["scores"]["kernel"]

    return Reader(
        after=("language_norm", "decoder", "scores"),
        init=functools.partial(t5.init, config),
        add_positions=lambda words, hidden_BTD: hidden_BTD,
        make_attention_inputs=lambda words, mask_BT, tokens: t5.encoder_bias(
            config, words, mask_BT
        ),
        block=block,
        norm=functools.partial(t5.norm, config),
        pool=pool,
        answer_logits=answer_logits,
        appends_answers=False,
    )


def make_t5_generator(
    config: T5Config, encoded: Callable[[Params, Batch], tuple[jax.Array, jax.Array]]
) -> Generator:
    """Makes the generator of a T5.

    Args:
      config: Sizes.
      encoded: Maps (parameters, batch) to (normed states of the encoder, mask_BT).
    """

    def prefill(
        params: Params, batch: Batch, max_new_tokens: int
    ) -> tuple[jax.Array, GenerationState]:
        states_BTD, mask_BT = encoded(params, batch)
        after, words = params["readout"], params["embeddings"]["words"]
        position_BT = jnp.zeros((1, 1), jnp.int32)
        attention_inputs = t5_decoder.make_attention_inputs(
            config, after["decoder"], position_BT, 1, states_BTD, mask_BT
        )
        start_BT = jnp.full((len(states_BTD), 1), config.decoder_start_token_id, jnp.int32)
        hidden_BTD, cache_L = t5_decoder.prefill(
            config, after["decoder"], words, start_BT, attention_inputs
        )
        cache_length_B = jnp.ones(len(states_BTD), jnp.int32)
        state = GenerationState(
            cache_L.extend(max_new_tokens), (states_BTD, mask_BT), cache_length_B
        )
        return hidden_BTD[:, 0] @ after["scores"]["kernel"], state

    def decode_step(
        params: Params, state: GenerationState, ids_BT: jax.Array
    ) -> tuple[jax.Array, GenerationState]:
        after, words = params["readout"], params["embeddings"]["words"]
        cache_length_B = state.cache_length_B
        positions_BT = cache_length_B[:, None] + jnp.arange(ids_BT.shape[1])[None]
        slots = state.cache_L.self_attention.key.shape[3]
        decoder = after["decoder"]
        attention_inputs = t5_decoder.make_attention_inputs(
            config, decoder, positions_BT, slots, *state.encoder_B
        )
        hidden_BTD, cache_L = t5_decoder.decode_step(
            config, decoder, words, ids_BT, attention_inputs, state.cache_L, cache_length_B
        )
        further = GenerationState(cache_L, state.encoder_B, cache_length_B + ids_BT.shape[1])
        return hidden_BTD @ after["scores"]["kernel"], further

    return Generator(
        prefill, decode_step, end_token=config.eos_token_id, padding_token=config.pad_token_id
    )
