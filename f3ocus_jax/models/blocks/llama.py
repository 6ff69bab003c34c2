"""What is Llama (Touvron et al., 2023)? Causal blocks with rotary positions and gated maps."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import causal_attention, layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.key_value_cache import CachedPrefix, KeyValueCache
from f3ocus_jax.models.blocks.language_model import LanguageModel
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.types import Array, Params, Rows

MAY_BE_ZERO = ("num_key_value_heads", "head_dim", "eos_token_id", "pad_token_id")


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """How positions turn queries and keys (Su et al., 2021).

    Attributes:
      rope_theta: base of the wave lengths.
      rope_type: "default"; scaled variants are not supported.
    """

    rope_theta: float = 10000.0
    rope_type: str = "default"

    def __post_init__(self) -> None:
        sizes.check(self, "rope_parameters", choices={"rope_type": ("default",)})


@dataclasses.dataclass(frozen=True)
class LlamaConfig:
    """Sizes of a Llama by their Hugging Face names; the defaults are transformers'.

    Attributes:
      model_type: "llama".
      vocab_size: entries of the tokenizer's vocabulary.
      hidden_size: D.
      num_hidden_layers: blocks.
      num_attention_heads: heads of the queries.
      num_key_value_heads: heads of keys and values, each shared by as many heads of the queries
        (Ainslie et al., 2023); 0 for one each.
      head_dim: dimensions of a head; 0 for D / heads.
      intermediate_size: width of the feed-forward part.
      hidden_act: its activation, a key of `ACTIVATIONS`.
      rms_norm_eps: of every norm.
      max_position_embeddings: longest sequence, in tokens.
      rope_parameters: of the positions.
      attention_bias: whether the maps of attention have a bias.
      mlp_bias: whether those of the feed-forward part have one.
      eos_token_id: the token that ends a generated text.
      pad_token_id: the token after the end; transformers names none.
    """

    model_type: str = "llama"
    vocab_size: int = 32000
    hidden_size: int = 4096
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 0
    head_dim: int = 0
    intermediate_size: int = 11008
    hidden_act: str = "silu"
    rms_norm_eps: float = 1e-6
    max_position_embeddings: int = 2048
    rope_parameters: RopeConfig = dataclasses.field(default_factory=RopeConfig)
    attention_bias: bool = False
    mlp_bias: bool = False
    eos_token_id: int = 2
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        check = functools.partial(sizes.check, self, "text", minimums=dict.fromkeys(MAY_BE_ZERO, 0))
        check(choices={"hidden_act": tuple(ACTIVATIONS), "model_type": ("llama",)})
        if not self.num_key_value_heads:
            object.__setattr__(self, "num_key_value_heads", self.num_attention_heads)
        if not self.head_dim:
            check(multiples=(("hidden_size", "num_attention_heads"),))
            object.__setattr__(self, "head_dim", self.hidden_size // self.num_attention_heads)
        check(multiples=(("num_attention_heads", "num_key_value_heads"),))
        if self.head_dim % 2:
            raise ConfigError(f"text head_dim = {self.head_dim}, must be even")


@struct.dataclass
class AttentionInputs:
    """Where the tokens of a sequence are, and which of them each may look at.

    Attributes:
      cos_BTH: cosines of the positions' angles, H being half a head.
      sin_BTH: their sines.
      bias_B1TS: added to the attention scores of every head.
    """

    cos_BTH: Array
    sin_BTH: Array
    bias_B1TS: Array


class RmsNorm(nn.Module):
    """Root mean square norm (Zhang & Sennrich, 2019), taken in float32."""

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
    """One block."""

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
          hidden_BTD: its input.
          attention_inputs: of the T tokens of the input; S counts them, or the cache's places.
          adapt: applied to the feed-forward part's output before the residual sum.
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

        def wide(name: str) -> jax.Array:
            size, use_bias = config.intermediate_size, config.mlp_bias
            return layers.linear(size, name, normed_BTD, use_bias=use_bias)

        inner_BTF = ACTIVATIONS[config.hidden_act](wide("gate")) * wide("up")
        return layers.linear(config.hidden_size, "down", inner_BTF, use_bias=config.mlp_bias)

    def linear(self, width: int, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a linear map of attention."""
        return layers.linear(width, name, hidden_BTD, use_bias=self.config.attention_bias)


def make_attention_inputs(
    config: LlamaConfig, positions_BT: jax.Array, places: int
) -> AttentionInputs:
    """Lets tokens look at themselves and at all tokens before them.

    Args:
      config: sizes.
      positions_BT: int32, where the tokens are in their sequence; B may be 1 for all examples.
      places: S, how many places of the sequence there are to look at, from 0 on.

    Returns:
      Their attention_inputs, float32.
    """
    exponents_H = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    waves_H = 1.0 / (config.rope_parameters.rope_theta**exponents_H)
    angles_BTH = positions_BT.astype(jnp.float32)[..., None] * waves_H[None, None]
    bias_B1TS = causal_attention.causal_mask(positions_BT, places)
    return AttentionInputs(jnp.cos(angles_BTH), jnp.sin(angles_BTH), bias_B1TS)


def apply_rope(heads: jax.Array, attention_inputs: AttentionInputs) -> jax.Array:
    """Turns queries or keys by their positions; the halves of a head are the two coordinates.

    Args:
      heads: [B, heads, T, head_dim].
      attention_inputs: of the T tokens.

    Returns:
      The same shape and dtype.
    """
    cos, sin = (
        part.astype(heads.dtype)[:, None]
        for part in (attention_inputs.cos_BTH, attention_inputs.sin_BTH)
    )
    first, second = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def init_words(config: LlamaConfig, key: jax.Array) -> Params:
    """Draws fresh word embeddings, {"word": [V, D]}."""
    shape, deviation = (config.vocab_size, config.hidden_size), config.hidden_size**-0.5
    return {"word": deviation * jax.random.normal(key, shape)}


def init_block(config: LlamaConfig, key: jax.Array) -> Rows:
    """Draws one fresh block."""
    hidden_BTD, position_BT = jnp.zeros((1, 1, config.hidden_size)), jnp.zeros((1, 1), jnp.int32)
    attention_inputs = make_attention_inputs(config, position_BT, 1)
    return modules.init(LlamaBlock(config), key, hidden_BTD, attention_inputs, identity)


def init(config: LlamaConfig, key: jax.Array) -> dict[str, Params]:
    """Draws a fresh model."""
    of_words, of_blocks, of_norm, of_scores = jax.random.split(key, 4)
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    draw_block = functools.partial(init_block, config)
    return {
        "words": init_words(config, of_words),
        "language_blocks": stacks.draw(draw_block, of_blocks, config.num_hidden_layers),
        "language_norm": modules.init(RmsNorm(config.rms_norm_eps), of_norm, hidden_BTD),
        "scores": {"kernel": init_words(config, of_scores)["word"].T},
    }


def make_language_model(config: LlamaConfig) -> LanguageModel:
    """Returns the model as functions of its parts."""

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
        del words
        return (hidden_BTD @ above["scores"]["kernel"]).astype(jnp.float32)

    return LanguageModel(
        width=config.hidden_size,
        above=("language_norm", "scores"),
        init=functools.partial(init, config),
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
