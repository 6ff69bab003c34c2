"""How do the language models of BLIP-2 read an image's tokens and a question?"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from f3ocus_jax.models import llama, opt, t5
from f3ocus_jax.models.causal import Language
from f3ocus_jax.models.layers import Adapt, unchanged
from f3ocus_jax.models.llama import LlamaConfig
from f3ocus_jax.models.opt import OptConfig
from f3ocus_jax.models.t5_config import T5Config
from f3ocus_jax.types import Params, Rows


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
      look: (words, mask_BT) -> sight of all blocks.
      block: (row, hidden_BTD, sight, adapt) -> hidden_BTD.
      norm: (language_norm, hidden_BTD) -> hidden_BTD, after the last block.
      pool: (parts above, words, normed hidden_BTD, mask_BT) -> state_BD for an answer head.
    """

    above: tuple[str, ...]
    init: Callable[[jax.Array], dict[str, Params]]
    enter: Callable[[Params, jax.Array], jax.Array]
    look: Callable[[Params, jax.Array], Any]
    block: Block
    norm: Callable[[Params, jax.Array], jax.Array]
    pool: Callable[[Params, Params, jax.Array, jax.Array], jax.Array]


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

    def look(words: Params, mask_BT: jax.Array) -> Any:
        del words
        tokens = mask_BT.shape[1]
        return language.look(jnp.arange(tokens)[None], tokens)

    def block(row: Rows, hidden_BTD: jax.Array, sight: Any, adapt: Adapt = unchanged) -> jax.Array:
        return language.block(row, hidden_BTD, sight, adapt, None)[0]

    def pool(above: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        del above, words
        last_B = jnp.sum(mask_BT, axis=1, dtype=jnp.int32) - 1
        return jnp.take_along_axis(hidden_BTD, last_B[:, None, None], axis=1)[:, 0]

    return Reader(language.above, language.init, enter, look, block, language.norm, pool)


def _of_t5(config: T5Config) -> Reader:
    """The answer head reads the decoder's first state, so that encoder and decoder both count."""

    def block(row: Rows, hidden_BTD: jax.Array, sight: Any, adapt: Adapt = unchanged) -> jax.Array:
        return t5.apply_block(config, row, hidden_BTD, sight, adapt)

    def pool(above: Params, words: Params, hidden_BTD: jax.Array, mask_BT: jax.Array) -> jax.Array:
        decoder, position_BT = above["decoder"], jnp.zeros((1, 1), jnp.int32)
        sight = t5.decoder_sight(config, decoder, position_BT, 1, hidden_BTD, mask_BT)
        start_BT = jnp.full((len(hidden_BTD), 1), config.decoder_start_token_id, jnp.int32)
        return t5.decode(config, decoder, words, start_BT, sight)[0][:, 0]

    return Reader(
        above=("language_norm", "decoder", "scores"),
        init=functools.partial(t5.init, config),
        enter=lambda words, hidden_BTD: hidden_BTD,
        look=functools.partial(t5.look, config),
        block=block,
        norm=functools.partial(t5.norm, config),
        pool=pool,
    )
