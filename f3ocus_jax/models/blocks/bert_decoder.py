"""A text decoder of BERT's blocks, which generates answers from an encoded question."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import bert, causal_attention, layers, modules
from f3ocus_jax.models.blocks.bert import LanguageModelHead, TextConfig
from f3ocus_jax.models.blocks.key_value_cache import DecoderCache, DecoderPrefix, KeyValueCache
from f3ocus_jax.types import Params, Rows


class DecoderBlock(nn.Module):
    """A BERT block with causal self-attention, cross-attention, and cached keys and values."""

    config: TextConfig

    @nn.compact
    def __call__(
        self,
        hidden_BTD: jax.Array,
        bias_B1TS: jax.Array,
        states_BSD: jax.Array,
        states_bias: jax.Array,
        prefix: DecoderPrefix | None = None,
    ) -> tuple[jax.Array, DecoderCache]:
        """Runs the block.

        Args:
          hidden_BTD: Input of the block.
          bias_B1TS: Added to the logits of self-attention; S counts the input's tokens, or the
            cache's slots.
          states_BSD: Encoded question; not used if its keys and values are cached.
          states_bias: [B, 1, 1, S], hides the question's padding.
          prefix: Cached tokens before the input; None if the input starts the text.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        config = self.config
        cache = self.keys_and_values("", hidden_BTD)
        if prefix is not None:
            cache = prefix[0].self_attention.update(cache, prefix[1])
        attended_BTD = self.attend("", hidden_BTD, cache, bias_B1TS)
        hidden_BTD = self.norm("attention_norm", hidden_BTD + attended_BTD)
        states_cache = prefix[0].cross_attention if prefix else None
        states_cache = states_cache or self.keys_and_values("cross_", states_BSD)
        attended_BTD = self.attend("cross_", hidden_BTD, states_cache, states_bias)
        hidden_BTD = self.norm("cross_attention_norm", hidden_BTD + attended_BTD)
        output_BTD = layers.feed_forward(config, hidden_BTD)
        hidden_BTD = self.norm("feed_forward_norm", hidden_BTD + output_BTD)
        return hidden_BTD, DecoderCache(cache, states_cache)

    def norm(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a norm."""
        return layers.layer_norm(self.config.layer_norm_eps, name)(hidden_BTD)

    def heads(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Returns [B, heads, T, D / heads]."""
        config = self.config
        is_key = name.endswith("key")
        projected = layers.linear(config.hidden_size, name, hidden_BTD, is_key=is_key)
        return causal_attention.split_heads(projected, config.num_attention_heads)

    def keys_and_values(self, kind: str, states_BSD: jax.Array) -> KeyValueCache:
        """Returns the keys and values of states; `kind` is "" or "cross_"."""
        return KeyValueCache(
            *(self.heads(f"{kind}{name}", states_BSD) for name in ("key", "value"))
        )

    def attend(
        self, kind: str, hidden_BTD: jax.Array, cache: KeyValueCache, bias: jax.Array
    ) -> jax.Array:
        """Attends to cached keys and values; `kind` is "" or "cross_"."""
        mixed_BTD = causal_attention.attend(self.heads(f"{kind}query", hidden_BTD), cache, bias)
        return layers.linear(self.config.hidden_size, f"{kind}attention_output", mixed_BTD)


def init(config: TextConfig, key: jax.Array, states_width: int) -> Params:
    """Initialises a decoder.

    Args:
      config: Sizes.
      key: Typed random key.
      states_width: Width of the states of cross-attention.

    Returns:
      "embeddings", "blocks" with a leading layer axis, and "scores", the language-model head.
    """
    words_key, blocks_key, head_key = jax.random.split(key, 3)
    embeddings = bert.init_embeddings(config, words_key)
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    return {
        "embeddings": embeddings,
        "blocks": bert.init_blocks(config, blocks_key, config.num_hidden_layers, states_width),
        "scores": modules.init(LanguageModelHead(config), head_key, hidden_BTD, embeddings["word"]),
    }


def prefill(
    config: TextConfig,
    params: Params,
    ids_BT: jax.Array,
    states_BSD: jax.Array,
    states_bias: jax.Array,
) -> tuple[jax.Array, DecoderCache]:
    """Runs the decoder on a text from its first token on, and keeps keys and values.

    Args:
      config: Sizes.
      params: Parameters of the decoder.
      ids_BT: int32, token ids of the text, padded on the right.
      states_BSD: Encoded question.
      states_bias: [B, 1, 1, S], hides the question's padding.

    Returns:
      (logits_BTV of the token that follows each token, cache with leading layer axis).
    """
    positions_BT = jnp.arange(ids_BT.shape[1])[None]
    bias_B1TT = causal_attention.causal_mask(positions_BT, ids_BT.shape[1])
    hidden_BTD = bert.embed(config, params["embeddings"], ids_BT)

    def step(hidden: jax.Array, row: Rows) -> tuple[jax.Array, DecoderCache]:
        return modules.apply(DecoderBlock(config), row, hidden, bias_B1TT, states_BSD, states_bias)

    hidden_BTD, cache_L = jax.lax.scan(step, hidden_BTD, params["blocks"])
    return _logits(config, params, hidden_BTD), cache_L


def decode_step(
    config: TextConfig,
    params: Params,
    ids_BT: jax.Array,
    states_BSD: jax.Array,
    states_bias: jax.Array,
    cache_L: DecoderCache,
    cache_length_B: jax.Array,
) -> tuple[jax.Array, DecoderCache]:
    """Runs the decoder on the next tokens of a text; see `prefill`.

    Args:
      config: Sizes.
      params: Parameters of the decoder.
      ids_BT: int32, token ids of the next tokens.
      states_BSD: Encoded question.
      states_bias: [B, 1, 1, S], hides the question's padding.
      cache_L: Keys and values of the tokens so far, with free slots for the next ones.
      cache_length_B: int32, the number of tokens so far.

    Returns:
      (logits_BTV, cache with these tokens).
    """
    positions_BT = cache_length_B[:, None] + jnp.arange(ids_BT.shape[1])[None]
    bias_B1TS = causal_attention.causal_mask(positions_BT, cache_L.self_attention.key.shape[3])
    hidden_BTD = bert.embed(config, params["embeddings"], ids_BT, positions_BT)

    def step(hidden: jax.Array, rows: tuple[Rows, DecoderCache]) -> tuple[jax.Array, Any]:
        row, cache = rows
        inputs = (hidden, bias_B1TS, states_BSD, states_bias, (cache, cache_length_B))
        return modules.apply(DecoderBlock(config), row, *inputs)

    hidden_BTD, cache_L = jax.lax.scan(step, hidden_BTD, (params["blocks"], cache_L))
    return _logits(config, params, hidden_BTD), cache_L


def _logits(config: TextConfig, params: Params, hidden_BTD: jax.Array) -> jax.Array:
    word_VD = params["embeddings"]["word"]
    return modules.apply(LanguageModelHead(config), params["scores"], hidden_BTD, word_VD)
