"""T5 (Raffel et al., 2020): an encoder and a decoder with relative positions.

The distance between two tokens adds a bias to their attention logit. The first block of the encoder
and of the decoder holds this bias, and the other blocks use it, too.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import stacks
from f3ocus_jax.models.blocks import causal_attention, layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.key_value_cache import DecoderCache, DecoderPrefix, KeyValueCache
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.models.blocks.llama import RmsNorm
from f3ocus_jax.models.blocks.relative_positions import relative_position_bias
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.types import Params, Rows


class T5Block(nn.Module):
    """One T5 block; with states for cross-attention, a block of the decoder."""

    config: T5Config

    @nn.compact
    def __call__(
        self,
        hidden_BTD: jax.Array,
        bias_BHTS: jax.Array,
        states_BSD: jax.Array | None,
        states_bias: jax.Array | None,
        adapt: Adapt,
        prefix: DecoderPrefix | None = None,
    ) -> tuple[jax.Array, DecoderCache]:
        """Runs the block.

        Args:
          hidden_BTD: Input of the block.
          bias_BHTS: Added to the logits of self-attention.
          states_BSD: Encoder states that cross-attention attends to; None for a block without it.
          states_bias: [B, 1, 1, S], added to the logits of cross-attention.
          adapt: Applied to the feed-forward layer's output before the residual sum.
          prefix: Cached tokens before the input; None if the input starts the text.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        normed_BTD = self.norm("attention_norm", hidden_BTD)
        cache, states_cache = self.keys_and_values("", normed_BTD), None
        if prefix is not None:
            cache = prefix[0].self_attention.update(cache, prefix[1])
        hidden_BTD = hidden_BTD + self.attend("", normed_BTD, cache, bias_BHTS)
        if states_BSD is not None and states_bias is not None:
            normed_BTD = self.norm("cross_attention_norm", hidden_BTD)
            states_cache = prefix[0].cross_attention if prefix else None
            states_cache = states_cache or self.keys_and_values("cross_", states_BSD)
            hidden_BTD = hidden_BTD + self.attend("cross_", normed_BTD, states_cache, states_bias)
        output_BTD = self.feed_forward(self.norm("feed_forward_norm", hidden_BTD))
        return hidden_BTD + adapt(output_BTD), DecoderCache(cache, states_cache)

    def norm(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a norm."""
        return RmsNorm(self.config.layer_norm_epsilon, name=name)(hidden_BTD)

    def linear(self, width: int, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a linear map without a bias."""
        return layers.linear(width, name, hidden_BTD, use_bias=False)

    def heads(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Returns [B, heads, T, d_kv]."""
        config = self.config
        projected = self.linear(config.num_heads * config.d_kv, name, hidden_BTD)
        return causal_attention.split_heads(projected, config.num_heads)

    def keys_and_values(self, kind: str, states_BSD: jax.Array) -> KeyValueCache:
        """Returns the keys and values of states; `kind` is "" or "cross_"."""
        return KeyValueCache(
            *(self.heads(f"{kind}{name}", states_BSD) for name in ("key", "value"))
        )

    def attend(
        self, kind: str, normed_BTD: jax.Array, cache: KeyValueCache, bias: jax.Array
    ) -> jax.Array:
        """Attends to cached keys and values without scaling the logits, as T5 does."""
        query = self.heads(f"{kind}query", normed_BTD)
        mixed_BTD = causal_attention.attend(query, cache, bias, scale=1.0)
        return self.linear(self.config.d_model, f"{kind}attention_output", mixed_BTD)

    def feed_forward(self, normed_BTD: jax.Array) -> jax.Array:
        """Maps every token through a wider layer and back, gated in newer models."""
        config = self.config
        activation, is_gated = config.activation
        inner_BTF = self.linear(config.d_ff, "up", normed_BTD)
        if is_gated:
            gate_BTF = self.linear(config.d_ff, "gate", normed_BTD)
            inner_BTF = ACTIVATIONS[activation](gate_BTF) * inner_BTF
        else:
            inner_BTF = ACTIVATIONS[activation](inner_BTF)
        return self.linear(config.d_model, "down", inner_BTF)


def init(config: T5Config, key: jax.Array) -> dict[str, Params]:
    """Initialises all parts of a model.

    Args:
      config: Sizes.
      key: Typed random key.

    Returns:
      "words" (embeddings, and the encoder's relative position bias), "language_blocks" and
      "language_norm" of the encoder, "decoder", and "scores", the language-model head.
    """
    words_key, bias_key, encoder_key, decoder_key, head_key = jax.random.split(key, 5)
    buckets = (config.relative_attention_num_buckets, config.num_heads)
    words = (config.vocab_size, config.d_model)
    std = config.d_model**-0.5
    encoder_bias_key, decoder_bias_key = jax.random.split(bias_key)
    blocks = functools.partial(_init_blocks, config)
    scale_D = {"scale": jnp.ones(config.d_model)}
    return {
        "words": {
            "word": std * jax.random.normal(words_key, words),
            "bias": std * jax.random.normal(encoder_bias_key, buckets),
        },
        "language_blocks": blocks(encoder_key, config.num_layers, cross_attention=False),
        "language_norm": scale_D,
        "decoder": {
            "bias": std * jax.random.normal(decoder_bias_key, buckets),
            "blocks": blocks(decoder_key, config.num_decoder_layers, cross_attention=True),
            "norm": scale_D,
        },
        "scores": {"kernel": std * jax.random.normal(head_key, words).T},
    }


def encoder_bias(config: T5Config, words: Params, mask_BT: jax.Array) -> jax.Array:
    """Computes the encoder's attention bias: relative positions, and padding hidden.

    Args:
      config: Sizes.
      words: Part "words" of the model.
      mask_BT: 1 for a token and 0 for padding.

    Returns:
      bias_BHTT, added to the attention logits.
    """
    positions_T = jnp.arange(mask_BT.shape[1])
    distance_1TT = (positions_T[None] - positions_T[:, None])[None]
    bias_1HTT = relative_position_bias(config, words["bias"], distance_1TT, bidirectional=True)
    return bias_1HTT + layers.padding_bias(mask_BT)


def apply_block(
    config: T5Config,
    row: Rows,
    hidden_BTD: jax.Array,
    bias_BHTT: jax.Array,
    adapt: Adapt = identity,
) -> jax.Array:
    """Runs one block of the encoder; see `T5Block`."""
    return modules.apply(T5Block(config), row, hidden_BTD, bias_BHTT, None, None, adapt)[0]


def norm(config: T5Config, params: Params, hidden_BTD: jax.Array) -> jax.Array:
    """Applies the norm after the last block."""
    return modules.apply(RmsNorm(config.layer_norm_epsilon), params, hidden_BTD)


def _init_blocks(config: T5Config, key: jax.Array, count: int, *, cross_attention: bool) -> Rows:
    hidden_BTD, bias = jnp.zeros((1, 1, config.d_model)), jnp.zeros((1, 1, 1, 1))
    states = hidden_BTD if cross_attention else None

    def init_block(key: jax.Array) -> Rows:
        return modules.init(T5Block(config), key, hidden_BTD, bias, states, bias, identity)

    return stacks.draw(init_block, key, count)
