"""Decoder-only language models as functions of their parts, with prefill and decode steps."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import adapters, lora
from f3ocus_jax.models.blocks.key_value_cache import CachedPrefix, KeyValueCache
from f3ocus_jax.models.blocks.layers import Adapt
from f3ocus_jax.types import Params, Rows

Block = Callable[
    [Rows, jax.Array, Any, Adapt, CachedPrefix | None], tuple[jax.Array, KeyValueCache]
]
"""(row, hidden_BTD, attention inputs, adapt, cached prefix) -> (hidden_BTD, cache)."""


@dataclasses.dataclass(frozen=True)
class LanguageModel:
    """A decoder-only language model as functions of its parts.

    Attributes:
      width: D.
      above: Names of the parts that run after the blocks: "language_norm", and "scores" where the
        output projection is not the word embeddings.
      init: Maps a key to all parts: "words", "language_blocks", and those above.
      add_positions: Maps (words, hidden_BTD of word embeddings, positions_BT) to hidden_BTD, the
        input of the first block.
      make_attention_inputs: Maps (positions_BT, slots) to what every block needs to know of the
        positions and of the slots that each token may attend to.
      block: One block; see `Block`.
      norm: Maps (language_norm, hidden_BTD after the last block) to hidden_BTD.
      logits: Maps (words, parts above, hidden_BTD) to logits_BTV of the next token, float32.
    """

    width: int
    above: tuple[str, ...]
    init: Callable[[jax.Array], dict[str, Params]]
    add_positions: Callable[[Params, jax.Array, jax.Array], jax.Array]
    make_attention_inputs: Callable[[jax.Array, int], Any]
    block: Block
    norm: Callable[[Params, jax.Array], jax.Array]
    logits: Callable[[Params, Params, jax.Array], jax.Array]


def prefill(
    language: LanguageModel, rows_L: Params, hidden_BTD: jax.Array, max_new_tokens: int
) -> tuple[jax.Array, KeyValueCache]:
    """Runs all blocks on a text from its first token on, and keeps keys and values.

    Args:
      language: Language model.
      rows_L: Its "blocks", their "adapters", and "lora" where they have low-rank changes; leading
        layer axis.
      hidden_BTD: Input of the first block.
      max_new_tokens: Number of free slots that the caches get for further tokens.

    Returns:
      (hidden_BTD after the last block, caches with leading layer axis).
    """
    tokens = hidden_BTD.shape[1]
    attention_inputs = language.make_attention_inputs(jnp.arange(tokens)[None], tokens)

    def step(hidden: jax.Array, row: Params) -> tuple[jax.Array, KeyValueCache]:
        hidden, cache = _run_block(language, row, hidden, attention_inputs, None)
        return hidden, cache.pad_to(tokens + max_new_tokens)

    return jax.lax.scan(step, hidden_BTD, rows_L)


def decode_step(
    language: LanguageModel,
    rows_L: Params,
    hidden_BTD: jax.Array,
    cache_L: KeyValueCache,
    cache_length_B: jax.Array,
) -> tuple[jax.Array, KeyValueCache]:
    """Runs all blocks on the next tokens of a text; see `prefill`.

    Args:
      language: Language model.
      rows_L: Rows as in `prefill`.
      hidden_BTD: Input of the first block, of the next tokens alone.
      cache_L: Keys and values of the tokens so far, with free slots for the next ones.
      cache_length_B: int32, the number of tokens so far.

    Returns:
      (hidden_BTD after the last block, caches with these tokens).
    """
    positions_BT = cache_length_B[:, None] + jnp.arange(hidden_BTD.shape[1])[None]
    attention_inputs = language.make_attention_inputs(positions_BT, cache_L.key.shape[3])

    def step(
        hidden: jax.Array, rows: tuple[Params, KeyValueCache]
    ) -> tuple[jax.Array, KeyValueCache]:
        row, cache = rows
        return _run_block(language, row, hidden, attention_inputs, (cache, cache_length_B))

    return jax.lax.scan(step, hidden_BTD, (rows_L, cache_L))


def _run_block(
    language: LanguageModel,
    row: Params,
    hidden_BTD: jax.Array,
    attention_inputs: Any,
    prefix: CachedPrefix | None,
) -> tuple[jax.Array, KeyValueCache]:
    """Runs one block with all that is added to it, as `base.run_block` does without a cache."""

    def adapt(output_BTD: jax.Array) -> jax.Array:
        return adapters.apply(row["adapters"], output_BTD).astype(output_BTD.dtype)

    with lora.applied(row.get("lora")):
        output_BTD, cache = language.block(
            row["blocks"], hidden_BTD, attention_inputs, adapt, prefix
        )
    return output_BTD.astype(hidden_BTD.dtype), cache
