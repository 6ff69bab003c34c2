"""How likely is a text, token by token, given an encoded question? A decoder of BERT's blocks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import bert, causal_attention, layers, modules
from f3ocus_jax.models.blocks.bert import LanguageModelHead, TextConfig
from f3ocus_jax.models.blocks.key_value_cache import DecoderCache, DecoderPrefix, KeyValueCache
from f3ocus_jax.types import Params, Rows


class DecoderBlock(nn.Module):
    """One of BERT's blocks with cross-attention, which keeps keys and values."""

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
          hidden_BTD: its input.
          bias_B1TS: added to the scores of self-attention; S counts the input's tokens, or the
            memory's places.
          states_BSD: the encoded question; not looked at where there is a memory.
          states_bias: [B, 1, 1, S], hides its padding.
          past: the tokens before, and each example's place for the input's first token.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        config = self.config
        own = self.remember("", hidden_BTD)
        if prefix is not None:
            own = prefix[0].self_attention.update(own, prefix[1])
        mixed_BTD = self.mix("", hidden_BTD, own, bias_B1TS)
        hidden_BTD = self.norm("attention_norm", hidden_BTD + mixed_BTD)
        seen = (
            prefix[0].cross_attention
            if prefix and prefix[0].cross_attention
            else self.remember("cross_", states_BSD)
        )
        mixed_BTD = self.mix("cross_", hidden_BTD, seen, states_bias)
        hidden_BTD = self.norm("cross_attention_norm", hidden_BTD + mixed_BTD)
        fed_BTD = layers.feed_forward(config, hidden_BTD)
        return self.norm("feed_forward_norm", hidden_BTD + fed_BTD), DecoderCache(own, seen)

    def norm(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Applies a norm."""
        return layers.layer_norm(self.config.layer_norm_eps, name)(hidden_BTD)

    def heads(self, name: str, hidden_BTD: jax.Array) -> jax.Array:
        """Returns [B, heads, T, D / heads]."""
        config = self.config
        projected = layers.linear(config.hidden_size, name, hidden_BTD)
        return causal_attention.split_heads(projected, config.num_attention_heads)

    def remember(self, prefix: str, states_BSD: jax.Array) -> KeyValueCache:
        """Returns the keys and values of states."""
        return KeyValueCache(
            *(self.heads(f"{prefix}{name}", states_BSD) for name in ("key", "value"))
        )

    def mix(
        self, prefix: str, hidden_BTD: jax.Array, cache: KeyValueCache, bias: jax.Array
    ) -> jax.Array:
        """Lets every token look at what is in a cache."""
        mixed_BTD = causal_attention.attend(self.heads(f"{prefix}query", hidden_BTD), cache, bias)
        return layers.linear(self.config.hidden_size, f"{prefix}attention_output", mixed_BTD)


def init(config: TextConfig, key: jax.Array, states_width: int) -> Params:
    """Draws a fresh decoder.

    Args:
      config: its sizes.
      key: typed random key.
      states_width: of the states it looks at.

    Returns:
      Embeddings, blocks with a leading layer axis, and the map to scores.
    """
    of_words, of_blocks, of_scores = jax.random.split(key, 3)
    embeddings = bert.init_embeddings(config, of_words)
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    return {
        "embeddings": embeddings,
        "blocks": bert.init_blocks(config, of_blocks, config.num_hidden_layers, states_width),
        "scores": modules.init(
            LanguageModelHead(config), of_scores, hidden_BTD, embeddings["word"]
        ),
    }


def prefill(
    config: TextConfig,
    params: Params,
    ids_BT: jax.Array,
    states_BSD: jax.Array,
    states_bias: jax.Array,
) -> tuple[jax.Array, DecoderCache]:
    """Scores the token that follows each token of a text, which sees those before it.

    Args:
      config: sizes.
      params: of a decoder.
      ids_BT: the text's tokens; padding behind them is seen by padding alone.
      states_BSD: the encoded question.
      states_bias: [B, 1, 1, S], hides the question's padding.

    Returns:
      (logits_BTV, unnormalised, memory of the text with leading layer axis).
    """
    positions_BT = jnp.arange(ids_BT.shape[1])[None]
    bias_B1TT = causal_attention.causal_mask(positions_BT, ids_BT.shape[1])
    hidden_BTD = bert.embed(config, params["embeddings"], ids_BT)

    def step(hidden: jax.Array, row: Rows) -> tuple[jax.Array, DecoderCache]:
        return modules.apply(DecoderBlock(config), row, hidden, bias_B1TT, states_BSD, states_bias)

    hidden_BTD, cache_L = jax.lax.scan(step, hidden_BTD, params["blocks"])
    return _scores(config, params, hidden_BTD), cache_L


def decode_step(
    config: TextConfig,
    params: Params,
    ids_BT: jax.Array,
    states_BSD: jax.Array,
    states_bias: jax.Array,
    cache_L: DecoderCache,
    cache_length_B: jax.Array,
) -> tuple[jax.Array, DecoderCache]:
    """Scores the tokens that follow further tokens of a text; see `prefill`.

    Args:
      config: sizes.
      params: of a decoder.
      ids_BT: the further tokens.
      states_BSD: the encoded question.
      states_bias: [B, 1, 1, S], hides the question's padding.
      cache_L: of the tokens before, with room for these.
      cache_length_B: int32, the first further token's place in it.

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
    return _scores(config, params, hidden_BTD), cache_L


def _scores(config: TextConfig, params: Params, hidden_BTD: jax.Array) -> jax.Array:
    word_VD = params["embeddings"]["word"]
    return modules.apply(LanguageModelHead(config), params["scores"], hidden_BTD, word_VD)
