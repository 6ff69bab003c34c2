"""The decoder of T5 (Raffel et al., 2020), which generates answers from an encoded question."""

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models.blocks import causal_attention, layers, modules
from f3ocus_jax.models.blocks.key_value_cache import DecoderCache, DecoderPrefix
from f3ocus_jax.models.blocks.layers import identity
from f3ocus_jax.models.blocks.relative_positions import relative_position_bias
from f3ocus_jax.models.blocks.t5 import T5Block, norm
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.types import Params, Rows


@struct.dataclass
class DecoderAttentionInputs:
    """Inputs of attention in the decoder's blocks.

    Attributes:
      bias_BHTS: float32, added to the logits of self-attention.
      states_BSD: Encoded question, which cross-attention attends to.
      states_bias_B11S: float32, hides the question's padding.
    """

    bias_BHTS: jax.Array
    states_BSD: jax.Array
    states_bias_B11S: jax.Array


def make_attention_inputs(
    config: T5Config,
    decoder: Params,
    positions_BT: jax.Array,
    slots: int,
    states_BSD: jax.Array,
    states_mask_BS: jax.Array,
) -> DecoderAttentionInputs:
    """Computes the decoder's attention biases: causal self-attention, and the encoded question.

    Args:
      config: Sizes.
      decoder: Part "decoder" of the model.
      positions_BT: int32, the tokens' positions in their text; B may be 1 for all examples.
      slots: S, number of positions of the text that can be attended to, from 0 on.
      states_BSD: Encoded question.
      states_mask_BS: 1 for a token of the question and 0 for padding.

    Returns:
      Attention inputs of all blocks of the decoder.
    """
    distance_BTS = jnp.arange(slots)[None, None] - positions_BT[..., None]
    bias_BHTS = relative_position_bias(config, decoder["bias"], distance_BTS, bidirectional=False)
    bias_BHTS = bias_BHTS + causal_attention.causal_mask(positions_BT, slots)
    return DecoderAttentionInputs(bias_BHTS, states_BSD, layers.padding_bias(states_mask_BS))


def prefill(
    config: T5Config,
    decoder: Params,
    words: Params,
    ids_BT: jax.Array,
    attention_inputs: DecoderAttentionInputs,
) -> tuple[jax.Array, DecoderCache]:
    """Runs the decoder on a text from its first token on, and keeps keys and values.

    Args:
      config: Sizes.
      decoder: Part "decoder" of the model.
      words: Part "words" of the model.
      ids_BT: int32, token ids of the text, the start token first.
      attention_inputs: Result of `make_attention_inputs` for positions 0 to T - 1.

    Returns:
      (normed hidden_BTD, cache with leading layer axis).
    """
    hidden_BTD = jnp.take(words["word"], ids_BT, axis=0)

    def step(hidden: jax.Array, row: Rows) -> tuple[jax.Array, DecoderCache]:
        return _apply_decoder_block(config, row, hidden, attention_inputs, None)

    hidden_BTD, cache_L = jax.lax.scan(step, hidden_BTD, decoder["blocks"])
    return norm(config, decoder["norm"], hidden_BTD), cache_L


def decode_step(
    config: T5Config,
    decoder: Params,
    words: Params,
    ids_BT: jax.Array,
    attention_inputs: DecoderAttentionInputs,
    cache_L: DecoderCache,
    cache_length_B: jax.Array,
) -> tuple[jax.Array, DecoderCache]:
    """Runs the decoder on the next tokens of a text; see `prefill`.

    Args:
      config: Sizes.
      decoder: Part "decoder" of the model.
      words: Part "words" of the model.
      ids_BT: int32, token ids of the next tokens.
      attention_inputs: Result of `make_attention_inputs` for these tokens and all slots of
        the cache.
      cache_L: Keys and values of the tokens so far, with free slots for the next ones.
      cache_length_B: int32, the number of tokens so far.

    Returns:
      (normed hidden_BTD, cache with these tokens).
    """
    hidden_BTD = jnp.take(words["word"], ids_BT, axis=0)

    def step(hidden: jax.Array, rows: tuple[Rows, DecoderCache]) -> tuple[jax.Array, DecoderCache]:
        row, cache = rows
        prefix = (cache, cache_length_B)
        return _apply_decoder_block(config, row, hidden, attention_inputs, prefix)

    hidden_BTD, cache_L = jax.lax.scan(step, hidden_BTD, (decoder["blocks"], cache_L))
    return norm(config, decoder["norm"], hidden_BTD), cache_L


def _apply_decoder_block(
    config: T5Config,
    row: Rows,
    hidden_BTD: jax.Array,
    attention_inputs: DecoderAttentionInputs,
    prefix: DecoderPrefix | None,
) -> tuple[jax.Array, DecoderCache]:
    inputs = (
        attention_inputs.bias_BHTS,
        attention_inputs.states_BSD,
        attention_inputs.states_bias_B11S,
    )
    return modules.apply(T5Block(config), row, hidden_BTD, *inputs, identity, prefix)
