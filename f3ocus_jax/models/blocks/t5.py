"""What is T5 (Raffel et al., 2020)? An encoder and a decoder that know distances, not positions.

How far two tokens are apart is a bias of their attention score. The first block of encoder and of
decoder holds it, and the others use it, too.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from f3ocus_jax.models import stacks
from f3ocus_jax.models.blocks import causal_attention, layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.key_value_cache import DecoderCache, DecoderPrefix, KeyValueCache
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.models.blocks.llama import RmsNorm
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.types import Array, Params, Rows


@struct.dataclass
class DecoderAttentionInputs:
    """What a decoder's blocks look at.

    Attributes:
      bias_BHTS: added to the scores of self-attention.
      states_BSD: the encoded question.
      states_bias_B11S: hides its padding.
    """

    bias_BHTS: Array
    states_BSD: Array
    states_bias_B11S: Array


class T5Block(nn.Module):
    """One block; with states to look at, one of the decoder."""

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
          hidden_BTD: its input.
          bias_BHTS: added to the scores of self-attention.
          states_BSD: what cross-attention looks at; None for a block without it.
          states_bias: [B, 1, 1, S], added to its scores.
          adapt: applied to the feed-forward part's output before the residual sum.
          prefix: Cached tokens before the input; None if the input starts the text.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        normed_BTD = self.norm("attention_norm", hidden_BTD)
        own = self.remember("", normed_BTD)
        if prefix is not None:
            own = prefix[0].self_attention.update(own, prefix[1])
        hidden_BTD = hidden_BTD + self.mix("", normed_BTD, own, bias_BHTS)
        seen = None
        if states_BSD is not None and states_bias is not None:
            normed_BTD = self.norm("cross_attention_norm", hidden_BTD)
            seen = (
                prefix[0].cross_attention
                if prefix and prefix[0].cross_attention
                else self.remember("cross_", states_BSD)
            )
            hidden_BTD = hidden_BTD + self.mix("cross_", normed_BTD, seen, states_bias)
        fed_BTD = self.feed_forward(self.norm("feed_forward_norm", hidden_BTD))
        return hidden_BTD + adapt(fed_BTD), DecoderCache(own, seen)

    def norm(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a norm."""
        return RmsNorm(self.config.layer_norm_epsilon, name=name)(hidden_BTD)

    def linear(self, width: int, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a linear map, none of which has a bias."""
        return layers.linear(width, name, hidden_BTD, use_bias=False)

    def heads(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Returns [B, heads, T, d_kv]."""
        config = self.config
        projected = self.linear(config.num_heads * config.d_kv, name, hidden_BTD)
        return causal_attention.split_heads(projected, config.num_heads)

    def remember(self, prefix: str, states_BSD: jax.Array) -> KeyValueCache:
        """Returns the keys and values of states."""
        return KeyValueCache(
            *(self.heads(f"{prefix}{name}", states_BSD) for name in ("key", "value"))
        )

    def mix(
        self, prefix: str, normed_BTD: jax.Array, cache: KeyValueCache, bias: jax.Array
    ) -> jax.Array:
        """Lets every token look at what is in a cache; T5 does not scale the scores."""
        query = self.heads(f"{prefix}query", normed_BTD)
        mixed_BTD = causal_attention.attend(query, cache, bias, scale=1.0)
        return self.linear(self.config.d_model, f"{prefix}attention_output", mixed_BTD)

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
    """Draws a fresh model.

    Args:
      config: sizes.
      key: typed random key.

    Returns:
      Its parts: words (embeddings, and the encoder's bias), language_blocks and language_norm of
      the encoder, decoder, and scores.
    """
    of_words, of_bias, of_encoder, of_decoder, of_scores = jax.random.split(key, 5)
    buckets = (config.relative_attention_num_buckets, config.num_heads)
    words = (config.vocab_size, config.d_model)
    deviation = config.d_model**-0.5
    of_encoder_bias, of_decoder_bias = jax.random.split(of_bias)
    blocks = functools.partial(_init_blocks, config)
    scale_D = {"scale": jnp.ones(config.d_model)}
    return {
        "words": {
            "word": deviation * jax.random.normal(of_words, words),
            "bias": deviation * jax.random.normal(of_encoder_bias, buckets),
        },
        "language_blocks": blocks(of_encoder, config.num_layers, looks=False),
        "language_norm": scale_D,
        "decoder": {
            "bias": deviation * jax.random.normal(of_decoder_bias, buckets),
            "blocks": blocks(of_decoder, config.num_decoder_layers, looks=True),
            "norm": scale_D,
        },
        "scores": {"kernel": deviation * jax.random.normal(of_scores, words).T},
    }


def encoder_bias(config: T5Config, words: Params, mask_BT: jax.Array) -> jax.Array:
    """Lets the encoder's tokens look at all that are no padding.

    Args:
      config: sizes.
      words: the part of that name.
      mask_BT: 1 for a token and 0 for padding.

    Returns:
      bias_BHTT, added to the scores.
    """
    places_T = jnp.arange(mask_BT.shape[1])
    apart_1TT = (places_T[None] - places_T[:, None])[None]
    return _bias(config, words["bias"], apart_1TT, both_ways=True) + layers.padding_bias(mask_BT)


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
    """Norms what the last block gave."""
    return modules.apply(RmsNorm(config.layer_norm_epsilon), params, hidden_BTD)


def prefill(
    config: T5Config,
    decoder: Params,
    words: Params,
    ids_BT: jax.Array,
    attention_inputs: DecoderAttentionInputs,
) -> tuple[jax.Array, DecoderCache]:
    """Reads the first tokens of a text.

    Args:
      config: sizes.
      decoder: the part of that name.
      words: the part of that name.
      ids_BT: the tokens, of which the first is the start.
      attention_inputs: from `make_decoder_attention_inputs`, for places 0 to T - 1.

    Returns:
      (hidden_BTD, normed, cache with leading layer axis).
    """
    hidden_BTD = jnp.take(words["word"], ids_BT, axis=0)

    def step(hidden: jax.Array, row: Rows) -> tuple[jax.Array, DecoderCache]:
        looked_at = (
            attention_inputs.bias_BHTS,
            attention_inputs.states_BSD,
            attention_inputs.states_bias_B11S,
        )
        return modules.apply(T5Block(config), row, hidden, *looked_at, identity)

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
    """Reads further tokens of a text; see `prefill`.

    Args:
      config: sizes.
      decoder: the part of that name.
      words: the part of that name.
      ids_BT: the tokens.
      attention_inputs: from `make_decoder_attention_inputs`,
        for these tokens and all slots of the cache.
      cache_L: of the tokens before, with room for these.
      cache_length_B: int32, the first of these tokens' place in it.

    Returns:
      (hidden_BTD, normed, cache with these tokens).
    """
    hidden_BTD = jnp.take(words["word"], ids_BT, axis=0)

    def step(hidden: jax.Array, rows: tuple[Rows, DecoderCache]) -> tuple[jax.Array, DecoderCache]:
        row, cache = rows
        looked_at = (
            attention_inputs.bias_BHTS,
            attention_inputs.states_BSD,
            attention_inputs.states_bias_B11S,
        )
        prefix = (cache, cache_length_B)
        return modules.apply(T5Block(config), row, hidden, *looked_at, identity, prefix)

    hidden_BTD, cache_L = jax.lax.scan(step, hidden_BTD, (decoder["blocks"], cache_L))
    return norm(config, decoder["norm"], hidden_BTD), cache_L


def make_decoder_attention_inputs(
    config: T5Config,
    decoder: Params,
    positions_BT: jax.Array,
    places: int,
    states_BSD: jax.Array,
    states_mask_BS: jax.Array,
) -> DecoderAttentionInputs:
    """Lets the decoder's tokens look at themselves, those before them, and the encoded question.

    Args:
      config: sizes.
      decoder: the part of that name.
      positions_BT: int32, where the tokens are in their text; B may be 1 for all examples.
      places: how many places of the text there are to look at, from 0 on.
      states_BSD: the encoded question.
      states_mask_BS: 1 for a token of it and 0 for padding.

    Returns:
      Their attention_inputs.
    """
    apart_BTS = jnp.arange(places)[None, None] - positions_BT[..., None]
    bias_BHTS = _bias(config, decoder["bias"], apart_BTS, both_ways=False)
    bias_BHTS = bias_BHTS + causal_attention.causal_mask(positions_BT, places)
    return DecoderAttentionInputs(bias_BHTS, states_BSD, layers.padding_bias(states_mask_BS))


def _bias(
    config: T5Config, bias_VH: jax.Array, apart_BTS: jax.Array, *, both_ways: bool
) -> jax.Array:
    """Looks up the bias of distances, [B, H, T, S]; positive ones are to later tokens."""
    buckets = config.relative_attention_num_buckets // (2 if both_ways else 1)
    farthest = config.relative_attention_max_distance
    table = jnp.asarray(_buckets(buckets, farthest))
    bucket_BTS = table[jnp.minimum(jnp.abs(apart_BTS), farthest)]
    if both_ways:
        bucket_BTS = bucket_BTS + jnp.where(apart_BTS > 0, buckets, 0)
    else:
        bucket_BTS = jnp.where(apart_BTS > 0, 0, bucket_BTS)
    return jnp.moveaxis(jnp.take(bias_VH, bucket_BTS, axis=0), -1, 1)


@functools.cache
def _buckets(buckets: int, farthest: int) -> np.ndarray:
    """Returns the bucket of every distance from 0 on: exact ones first, then logarithmic ones."""
    exact = buckets // 2
    apart = np.arange(farthest + 1)
    # In float32, as torch takes them: some distances are on the border of two buckets.
    shares = np.log(np.maximum(apart, 1).astype(np.float32) / np.float32(exact))
    shares = shares / np.float32(np.log(farthest / exact)) * np.float32(buckets - exact)
    far = np.minimum(exact + shares.astype(np.int32), buckets - 1)
    return np.where(apart < exact, apart, far).astype(np.int32)


def _init_blocks(config: T5Config, key: jax.Array, count: int, *, looks: bool) -> Rows:
    hidden_BTD, bias = jnp.zeros((1, 1, config.d_model)), jnp.zeros((1, 1, 1, 1))
    states = hidden_BTD if looks else None

    def init_block(key: jax.Array) -> Rows:
        return modules.init(T5Block(config), key, hidden_BTD, bias, states, bias, identity)

    return stacks.draw(init_block, key, count)
