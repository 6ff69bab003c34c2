"""Llama (Touvron et al., 2023): causal blocks with rotary positions and gated feed-forward."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import stacks
from f3ocus_jax.models.blocks import causal_attention, layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.key_value_cache import CachedPrefix, KeyValueCache
from f3ocus_jax.models.blocks.language_model import LanguageModel
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.types import Params, Rows


@struct.dataclass
class AttentionInputs:
    """Rotary angles of T tokens, and the attention bias that says which tokens each attends to.

    Attributes:
      cos_BTH: float32, cosines of the positions' angles, H being half a head.
      sin_BTH: float32, sines of the same angles.
      bias_B1TS: float32, added to the attention logits of every head.
    """

    cos_BTH: jax.Array
    sin_BTH: jax.Array
    bias_B1TS: jax.Array


class RmsNorm(nn.Module):
    """Root mean square norm (Zhang & Sennrich, 2019), computed in float32."""

    epsilon: float

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns hidden_BTD, normed."""
        scale_D = self.param("scale", nn.initializers.ones, (hidden_BTD.shape[-1],))
        wide_BTD = hidden_BTD.astype(jnp.float32)
        power_BT1 = jnp.mean(jnp.square(wide_BTD), axis=-1, keepdims=True)
        normed_BTD = wide_BTD * jax.lax.rsqrt(power_BT1 + self.epsilon)
        return normed_BTD.astype(hidden_BTD.dtype) * scale_D[None, None]


class LlamaBlock(nn.Module):
    """One Llama block."""

    config: LlamaConfig

    @nn.compact
    def __call__(
        self,
        hidden_BTD: jax.Array,
        attention_inputs: AttentionInputs,
        adapt: Adapt,
        prefix: CachedPrefix | None = None,
    ) -> tuple[jax.Array, KeyValueCache]:
        """Runs the block.

        Args:
          hidden_BTD: Input of the block.
          attention_inputs: Angles and bias of the T tokens of the input; S counts them, or the
            cache's slots.
          adapt: Applied to the feed-forward layer's output before the residual sum.
          prefix: Cached tokens before the input; None if the input starts the text.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        config = self.config
        normed_BTD = RmsNorm(config.rms_norm_eps, name="attention_norm")(hidden_BTD)
        query, cache = self.project(normed_BTD, attention_inputs)
        if prefix is not None:
            cache = prefix[0].update(cache, prefix[1])
        mixed = causal_attention.attend(query, cache, attention_inputs.bias_B1TS)
        hidden_BTD = hidden_BTD + self.linear(config.hidden_size, "attention_output", mixed)
        normed_BTD = RmsNorm(config.rms_norm_eps, name="feed_forward_norm")(hidden_BTD)
        return hidden_BTD + adapt(self.feed_forward(normed_BTD)), cache

    def project(
        self, normed_BTD: jax.Array, attention_inputs: AttentionInputs
    ) -> tuple[jax.Array, KeyValueCache]:
        """Returns queries, [B, heads, T, head_dim], and the cache of these tokens alone."""
        config = self.config

        def heads(name: str, count: int) -> jax.Array:
            return causal_attention.split_heads(
                self.linear(count * config.head_dim, name, normed_BTD), count
            )

        query = apply_rope(heads("query", config.num_attention_heads), attention_inputs)
        key = apply_rope(heads("key", config.num_key_value_heads), attention_inputs)
        return query, KeyValueCache(key, heads("value", config.num_key_value_heads))

    def feed_forward(self, normed_BTD: jax.Array) -> jax.Array:
        """Maps every token through a wider, gated layer and back (Shazeer, 2020)."""
        config = self.config

        def widen(name: str) -> jax.Array:
            size, use_bias = config.intermediate_size, config.mlp_bias
            return layers.linear(size, name, normed_BTD, use_bias=use_bias)

        inner_BTF = ACTIVATIONS[config.hidden_act](widen("gate")) * widen("up")
        return layers.linear(config.hidden_size, "down", inner_BTF, use_bias=config.mlp_bias)

    def linear(self, width: int, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a linear map of attention."""
        return layers.linear(width, name, hidden_BTD, use_bias=self.config.attention_bias)


def make_attention_inputs(
    config: LlamaConfig, positions_BT: jax.Array, slots: int
) -> AttentionInputs:
    """Computes rotary angles and the causal bias of tokens.

    Args:
      config: Sizes.
      positions_BT: int32, the tokens' positions in their sequence; B may be 1 for all examples.
      slots: S, number of positions that can be attended to, from 0 on.

    Returns:
      Attention inputs, float32.
    """
    exponents_H = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    frequencies_H = 1.0 / (config.rope_parameters.rope_theta**exponents_H)
    angles_BTH = positions_BT.astype(jnp.float32)[..., None] * frequencies_H[None, None]
    bias_B1TS = causal_attention.causal_mask(positions_BT, slots)
    return AttentionInputs(jnp.cos(angles_BTH), jnp.sin(angles_BTH), bias_B1TS)


def apply_rope(heads: jax.Array, attention_inputs: AttentionInputs) -> jax.Array:
    """Applies rotary position embeddings to queries or keys (Su et al., 2021).

    The two halves of a head are the coordinates that are rotated, as in transformers.

    Args:
      heads: Queries or keys, [B, heads, T, head_dim].
      attention_inputs: Angles of the T tokens.

    Returns:
      Rotated heads, of the same shape and dtype.
    """
    cos, sin = (
        part.astype(heads.dtype)[:, None]
        for part in (attention_inputs.cos_BTH, attention_inputs.sin_BTH)
    )
    first, second = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def init_words(config: LlamaConfig, key: jax.Array) -> Params:
    """Initialises word embeddings, {"word": [V, D]}."""
    shape, std = (config.vocab_size, config.hidden_size), config.hidden_size**-0.5
    return {"word": std * jax.random.normal(key, shape)}


def init_block(config: LlamaConfig, key: jax.Array) -> Rows:
    """Initialises one block."""
    hidden_BTD, position_BT = jnp.zeros((1, 1, config.hidden_size)), jnp.zeros((1, 1), jnp.int32)
    attention_inputs = make_attention_inputs(config, position_BT, 1)
    return modules.init(LlamaBlock(config), key, hidden_BTD, attention_inputs, identity)


def init(config: LlamaConfig, key: jax.Array, *, tied: bool = False) -> dict[str, Params]:
    """Initialises all parts of a model; see `make_language_model`."""
    words_key, blocks_key, norm_key, head_key = jax.random.split(key, 4)
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    init_one = functools.partial(init_block, config)
    scores = {} if tied else {"scores": {"kernel": init_words(config, head_key)["word"].T}}
    return {
        "words": init_words(config, words_key),
        "language_blocks": stacks.draw(init_one, blocks_key, config.num_hidden_layers),
        "language_norm": modules.init(RmsNorm(config.rms_norm_eps), norm_key, hidden_BTD),
        **scores,
    }


def make_language_model(config: LlamaConfig, *, tied: bool = False) -> LanguageModel:
    """Makes the language model as functions of its parts.

    Args:
      config: Sizes.
      tied: True if the output weights are the word embeddings.
    """

    def block(
        row: Rows,
        hidden_BTD: jax.Array,
        attention_inputs: AttentionInputs,
        adapt: Adapt,
        prefix: CachedPrefix | None,
    ) -> tuple[jax.Array, KeyValueCache]:
        return modules.apply(LlamaBlock(config), row, hidden_BTD, attention_inputs, adapt, prefix)

    def norm(params: Params, hidden_BTD: jax.Array) -> jax.Array:
        return modules.apply(RmsNorm(config.rms_norm_eps), params, hidden_BTD)

    def logits(words: Params, above: Params, hidden_BTD: jax.Array) -> jax.Array:
        kernel_DV = words["word"].T if tied else above["scores"]["kernel"]
        return (hidden_BTD @ kernel_DV).astype(jnp.float32)

    return LanguageModel(
        width=config.hidden_size,
        above=("language_norm",) if tied else ("language_norm", "scores"),
        init=functools.partial(init, config, tied=tied),
        add_positions=lambda words, hidden_BTD, positions_BT: hidden_BTD,
        make_attention_inputs=functools.partial(make_attention_inputs, config),
        block=block,
        norm=norm,
        logits=logits,
    )


def apply_block(
    config: LlamaConfig,
    row: Rows,
    hidden_BTD: jax.Array,
    attention_inputs: AttentionInputs,
    adapt: Adapt = identity,
) -> jax.Array:
    """Runs one block on a whole sequence; see `LlamaBlock`."""
    return modules.apply(LlamaBlock(config), row, hidden_BTD, attention_inputs, adapt)[0]
