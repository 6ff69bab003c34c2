"""OPT (Zhang et al., 2022): causal pre-norm blocks with learned positions.

The word embeddings are the output projection, too.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import causal_attention, layers, modules, vision
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.key_value_cache import CachedPrefix, KeyValueCache
from f3ocus_jax.models.blocks.language_model import LanguageModel
from f3ocus_jax.models.blocks.layers import Adapt, identity
from f3ocus_jax.types import Params, Rows

OFFSET = 2
"""Row of the first position among the position embeddings; earlier rows are never used."""


@dataclasses.dataclass(frozen=True)
class OptConfig:
    """Sizes of an OPT by their Hugging Face names, with the defaults of transformers.

    Attributes:
      model_type: "opt".
      vocab_size: Entries of the tokenizer's vocabulary.
      hidden_size: D.
      num_hidden_layers: Number of blocks.
      num_attention_heads: Number of heads, each of D / heads dimensions.
      ffn_dim: Width of the feed-forward layer.
      activation_function: Activation of the feed-forward layer, a key of `ACTIVATIONS`.
      max_position_embeddings: Longest sequence, in tokens.
      word_embed_proj_dim: Width of the word embeddings: D, or 0 for D.
      do_layer_norm_before: Must be True: norms precede attention and the feed-forward layer.
      enable_bias: Must be True: every linear map has a bias.
      layer_norm_elementwise_affine: Must be True: norms have a scale and a bias.
      tie_word_embeddings: Must be True: the word embeddings are the output projection.
      eos_token_id: Token id that ends a generated text.
      pad_token_id: Token id after the end.
    """

    model_type: str = "opt"
    vocab_size: int = 50272
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    ffn_dim: int = 3072
    activation_function: str = "relu"
    max_position_embeddings: int = 2048
    word_embed_proj_dim: int = 0
    do_layer_norm_before: bool = True
    enable_bias: bool = True
    layer_norm_elementwise_affine: bool = True
    tie_word_embeddings: bool = True
    eos_token_id: int = 2
    pad_token_id: int = 1

    def __post_init__(self) -> None:
        if not self.word_embed_proj_dim:
            object.__setattr__(self, "word_embed_proj_dim", self.hidden_size)
        sizes.check(
            self,
            "text",
            minimums={"eos_token_id": 0, "pad_token_id": 0},
            choices={
                "model_type": ("opt",),
                "activation_function": tuple(ACTIVATIONS),
                "word_embed_proj_dim": (self.hidden_size,),
                "do_layer_norm_before": (True,),
                "enable_bias": (True,),
                "layer_norm_elementwise_affine": (True,),
                "tie_word_embeddings": (True,),
            },
            multiples=(("hidden_size", "num_attention_heads"),),
        )

    @property
    def intermediate_size(self) -> int:
        """Width of the feed-forward layer."""
        return self.ffn_dim

    @property
    def hidden_act(self) -> str:
        """Activation of the feed-forward layer."""
        return self.activation_function

    @property
    def layer_norm_eps(self) -> float:
        """Epsilon of every LayerNorm, torch's default."""
        return 1e-5


class OptBlock(nn.Module):
    """One OPT block."""

    config: OptConfig

    @nn.compact
    def __call__(
        self,
        hidden_BTD: jax.Array,
        bias_B1TS: jax.Array,
        adapt: Adapt,
        prefix: CachedPrefix | None = None,
    ) -> tuple[jax.Array, KeyValueCache]:
        """Runs the block.

        Args:
          hidden_BTD: Input of the block.
          bias_B1TS: Added to the attention logits; S counts the input's tokens, or the cache's
            slots.
          adapt: Applied to the feed-forward layer's output before the residual sum.
          prefix: Cached tokens before the input; None if the input starts the text.

        Returns:
          (hidden_BTD, cache with the input's keys and values).
        """
        config = self.config
        width, epsilon = config.hidden_size, config.layer_norm_eps
        normed_BTD = layers.layer_norm(epsilon, "attention_norm")(hidden_BTD)
        query, key, value = (
            causal_attention.split_heads(
                layers.linear(width, name, normed_BTD, is_key=name == "key"),
                config.num_attention_heads,
            )
            for name in ("query", "key", "value")
        )
        cache = KeyValueCache(key, value)
        if prefix is not None:
            cache = prefix[0].update(cache, prefix[1])
        mixed_BTD = causal_attention.attend(query, cache, bias_B1TS)
        hidden_BTD = hidden_BTD + layers.linear(width, "attention_output", mixed_BTD)
        normed_BTD = layers.layer_norm(epsilon, "feed_forward_norm")(hidden_BTD)
        return hidden_BTD + adapt(layers.feed_forward(config, normed_BTD)), cache


def init(config: OptConfig, key: jax.Array) -> dict[str, Params]:
    """Initialises all parts of a model."""
    words_key, positions_key, blocks_key, norm_key = jax.random.split(key, 4)
    width, std = config.hidden_size, config.hidden_size**-0.5
    hidden_BTD, bias = jnp.zeros((1, 1, width)), jnp.zeros((1, 1, 1, 1))

    def init_block(key: jax.Array) -> Rows:
        return modules.init(OptBlock(config), key, hidden_BTD, bias, identity)

    positions = (config.max_position_embeddings + OFFSET, width)
    return {
        "words": {
            "word": std * jax.random.normal(words_key, (config.vocab_size, width)),
            "position": std * jax.random.normal(positions_key, positions),
        },
        "language_blocks": stacks.draw(init_block, blocks_key, config.num_hidden_layers),
        "language_norm": modules.init(
            vision.FinalNorm(config.layer_norm_eps), norm_key, hidden_BTD
        ),
    }


def make_language_model(config: OptConfig) -> LanguageModel:
    """Makes the language model as functions of its parts."""

    def add_positions(words: Params, hidden_BTD: jax.Array, positions_BT: jax.Array) -> jax.Array:
        return hidden_BTD + jnp.take(words["position"], positions_BT + OFFSET, axis=0)

    def block(
        row: Rows,
        hidden_BTD: jax.Array,
        bias_B1TS: jax.Array,
        adapt: Adapt,
        prefix: CachedPrefix | None,
    ) -> tuple[jax.Array, KeyValueCache]:
        return modules.apply(OptBlock(config), row, hidden_BTD, bias_B1TS, adapt, prefix)

    def norm(params: Params, hidden_BTD: jax.Array) -> jax.Array:
        return modules.apply(vision.FinalNorm(config.layer_norm_eps), params, hidden_BTD)

    def logits(words: Params, above: Params, hidden_BTD: jax.Array) -> jax.Array:
        del above
        return (hidden_BTD @ words["word"].T).astype(jnp.float32)

    return LanguageModel(
        width=config.hidden_size,
        above=("language_norm",),
        init=functools.partial(init, config),
        add_positions=add_positions,
        make_attention_inputs=causal_attention.causal_mask,
        block=block,
        norm=norm,
        logits=logits,
    )
