"""What is Llama (Touvron et al., 2023)? Causal blocks with rotary positions and gated feed-forward.

Padding stands on the right, behind all that is read, so that the causal mask hides it.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.config import ConfigError
from f3ocus_jax.models import layers, modules, sizes
from f3ocus_jax.models.activations import ACTIVATIONS
from f3ocus_jax.models.layers import Adapt, unchanged
from f3ocus_jax.types import Array, Params, Rows


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

    def __post_init__(self) -> None:
        check = functools.partial(
            sizes.check, self, "text", minimums={"num_key_value_heads": 0, "head_dim": 0}
        )
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
class Sight:
    """Where the tokens of a sequence are, and which of them each may look at.

    Attributes:
      cos_TH: cosines of the positions' angles, H being half a head.
      sin_TH: their sines.
      bias_TS: added to the attention scores of every example and head.
    """

    cos_TH: Array
    sin_TH: Array
    bias_TS: Array


@struct.dataclass
class Cache:
    """Keys and values of the tokens that one block has read, [B, heads, S, head_dim] each.

    Attributes:
      key: turned by their positions.
      value: as they are.
    """

    key: Array
    value: Array

    def write(self, newer: "Cache", place: jax.Array) -> "Cache":
        """Returns the cache with the keys and values of later tokens from a place on."""
        start = (0, 0, place, 0)
        return jax.tree.map(
            lambda all, some: jax.lax.dynamic_update_slice(all, some, start), self, newer
        )


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
        sight: Sight,
        adapt: Adapt,
        past: tuple[Cache, jax.Array] | None = None,
    ) -> tuple[jax.Array, Cache]:
        """Runs the block.

        Args:
          hidden_BTD: its input.
          sight: of the T tokens of the input; S counts them, or the cache's places.
          adapt: applied to the feed-forward part's output before the residual sum.
          past: (cache, place of the input's first token in it); None if the input is all there is.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        config = self.config
        normed_BTD = RmsNorm(config.rms_norm_eps, name="attention_norm")(hidden_BTD)
        query, cache = self.project(normed_BTD, sight)
        if past is not None:
            cache = past[0].write(cache, past[1])
        mixed = attend(query, cache, sight.bias_TS).reshape(*hidden_BTD.shape[:2], -1)
        hidden_BTD = hidden_BTD + self.linear(config.hidden_size, "attention_output", mixed)
        normed_BTD = RmsNorm(config.rms_norm_eps, name="feed_forward_norm")(hidden_BTD)
        return hidden_BTD + adapt(self.feed_forward(normed_BTD)), cache

    def project(self, normed_BTD: jax.Array, sight: Sight) -> tuple[jax.Array, Cache]:
        """Returns queries, [B, heads, T, head_dim], and the cache of these tokens alone."""
        config = self.config

        def heads(name: str, count: int) -> jax.Array:
            projected = self.linear(count * config.head_dim, name, normed_BTD)
            return projected.reshape(*normed_BTD.shape[:2], count, config.head_dim).swapaxes(1, 2)

        query = turn(heads("query", config.num_attention_heads), sight)
        key = turn(heads("key", config.num_key_value_heads), sight)
        return query, Cache(key, heads("value", config.num_key_value_heads))

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


def look(config: LlamaConfig, positions_T: jax.Array, places: int) -> Sight:
    """Lets tokens look at themselves and at all tokens before them.

    Args:
      config: sizes.
      positions_T: int32, where the tokens are in their sequence.
      places: S, how many places of the sequence there are to look at, from 0 on.

    Returns:
      Their sight, float32.
    """
    exponents_H = jnp.arange(0, config.head_dim, 2, dtype=jnp.float32) / config.head_dim
    waves_H = 1.0 / (config.rope_parameters.rope_theta**exponents_H)
    angles_TH = positions_T.astype(jnp.float32)[:, None] * waves_H[None]
    visible_TS = jnp.arange(places)[None] <= positions_T[:, None]
    bias_TS = jnp.where(visible_TS, 0.0, jnp.finfo(jnp.float32).min)
    return Sight(jnp.cos(angles_TH), jnp.sin(angles_TH), bias_TS)


def turn(heads: jax.Array, sight: Sight) -> jax.Array:
    """Turns queries or keys by their positions; the halves of a head are the two coordinates.

    Args:
      heads: [B, heads, T, head_dim].
      sight: of the T tokens.

    Returns:
      The same shape and dtype.
    """
    cos, sin = (part.astype(heads.dtype)[None, None] for part in (sight.cos_TH, sight.sin_TH))
    first, second = jnp.split(heads, 2, axis=-1)
    return jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)


def attend(query: jax.Array, cache: Cache, bias_TS: jax.Array) -> jax.Array:
    """Mixes values by how well their keys fit the queries.

    Args:
      query: [B, heads, T, head_dim].
      cache: of the tokens that are looked at, with as many or fewer heads.
      bias_TS: added to the scores.

    Returns:
      [B, T, heads, head_dim].
    """
    batch, heads, tokens, width = query.shape
    groups = cache.key.shape[1]
    grouped = query.reshape(batch, groups, heads // groups, tokens, width)
    scores = grouped @ cache.key[:, :, None].swapaxes(-1, -2) * width**-0.5
    scores = scores.astype(jnp.float32) + bias_TS[None, None, None]
    shares = jax.nn.softmax(scores, axis=-1).astype(query.dtype)
    mixed = shares @ cache.value[:, :, None]
    return mixed.reshape(batch, heads, tokens, width).swapaxes(1, 2)


def init_words(config: LlamaConfig, key: jax.Array) -> Params:
    """Draws fresh word embeddings, {"word": [V, D]}."""
    shape, deviation = (config.vocab_size, config.hidden_size), config.hidden_size**-0.5
    return {"word": deviation * jax.random.normal(key, shape)}


def init_block(config: LlamaConfig, key: jax.Array) -> Rows:
    """Draws one fresh block."""
    hidden_BTD, position_T = jnp.zeros((1, 1, config.hidden_size)), jnp.zeros(1, jnp.int32)
    sight = look(config, position_T, 1)
    return modules.draw(LlamaBlock(config), key, hidden_BTD, sight, unchanged)


def apply_block(
    config: LlamaConfig, row: Rows, hidden_BTD: jax.Array, sight: Sight, adapt: Adapt = unchanged
) -> jax.Array:
    """Runs one block on a whole sequence; see `LlamaBlock`."""
    return modules.run(LlamaBlock(config), row, hidden_BTD, sight, adapt)[0]


def final_norm(config: LlamaConfig, params: Params, hidden_BTD: jax.Array) -> jax.Array:
    """Norms what the last block gave."""
    return modules.run(RmsNorm(config.rms_norm_eps), params, hidden_BTD)
