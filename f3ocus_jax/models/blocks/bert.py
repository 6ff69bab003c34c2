"""Text transformers like BERT (Devlin et al., 2019), with or without cross-attention."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.layers import Adapt, BlockSizes, identity
from f3ocus_jax.types import Array, Params, Rows


@dataclasses.dataclass(frozen=True)
class TextConfig:
    """Sizes of a text transformer by their Hugging Face names, with the defaults of BLIP.

    Attributes:
      vocab_size: Entries of the tokenizer's vocabulary.
      hidden_size: D.
      num_hidden_layers: Number of blocks.
      num_attention_heads: Number of heads, each of D / heads dimensions.
      intermediate_size: Width of the feed-forward layer.
      max_position_embeddings: Longest text, in tokens.
      hidden_act: Activation of the feed-forward layer, a key of `ACTIVATIONS`.
      layer_norm_eps: Epsilon of every LayerNorm.
      bos_token_id: Token id that starts a generated text.
      sep_token_id: Token id that ends a generated text.
      pad_token_id: Token id after the end.
    """

    vocab_size: int = 30524
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 8
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-12
    bos_token_id: int = 30522
    sep_token_id: int = 102
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        sizes.check(
            self,
            "text",
            minimums={"bos_token_id": 0, "sep_token_id": 0, "pad_token_id": 0},
            choices={"hidden_act": tuple(ACTIVATIONS)},
            multiples=(("hidden_size", "num_attention_heads"),),
        )

    @property
    def token_types(self) -> int:
        """Number of segment types that have an embedding; only the first one is used."""
        return 0


class TextEmbeddings(nn.Module):
    """Embeds token ids."""

    config: TextConfig

    @nn.compact
    def __call__(self, input_ids_BT: jax.Array, positions_BT: jax.Array | None = None) -> jax.Array:
        """Returns hidden_BTD; positions count from 0 if None."""
        config = self.config
        normal = nn.initializers.normal(config.hidden_size**-0.5)
        word = self.param("word", normal, (config.vocab_size, config.hidden_size))
        rows = (config.max_position_embeddings, config.hidden_size)
        position = self.param("position", normal, rows)
        hidden_BTD = jnp.take(word, input_ids_BT, axis=0)
        if positions_BT is None:
            hidden_BTD = hidden_BTD + position[None, : input_ids_BT.shape[1]]
        else:
            hidden_BTD = hidden_BTD + jnp.take(position, positions_BT, axis=0)
        if config.token_types:
            types = self.param("types", normal, (config.token_types, config.hidden_size))
            hidden_BTD = hidden_BTD + types[None, :1]
        return layers.layer_norm(config.layer_norm_eps, "norm")(hidden_BTD)


class BertBlock(nn.Module):
    """One post-norm transformer block: its norms follow the residual sums."""

    sizes: BlockSizes

    @nn.compact
    def __call__(
        self,
        hidden_BTD: jax.Array,
        bias: jax.Array | None,
        states_BSD: jax.Array | None,
        states_bias: jax.Array | None,
        adapt: Adapt,
    ) -> jax.Array:
        """Runs the block.

        Args:
          hidden_BTD: Input of the block.
          bias: [B, 1, 1 or T, T], added to the logits of self-attention; None if all tokens
            attend to each other.
          states_BSD: Encoder states that cross-attention attends to; None for a block without it.
          states_bias: [B, 1, 1, S], added to the logits of cross-attention; None if all states
            are visible.
          adapt: Applied to the feed-forward layer's output before the residual sum.

        Returns:
          hidden_BTD.
        """
        epsilon = self.sizes.layer_norm_eps
        attended_BTD = layers.attention(self.sizes, hidden_BTD, hidden_BTD, bias)
        hidden_BTD = layers.layer_norm(epsilon, "attention_norm")(hidden_BTD + attended_BTD)
        if states_BSD is not None:
            attended_BTD = layers.attention(
                self.sizes, hidden_BTD, states_BSD, states_bias, prefix="cross_"
            )
            hidden_BTD = layers.layer_norm(epsilon, "cross_attention_norm")(
                hidden_BTD + attended_BTD
            )
        output_BTD = adapt(layers.feed_forward(self.sizes, hidden_BTD))
        return layers.layer_norm(epsilon, "feed_forward_norm")(hidden_BTD + output_BTD)


class LanguageModelHead(nn.Module):
    """Computes the logits of the next token, through the word embeddings."""

    config: TextConfig

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array, word_VD: jax.Array) -> jax.Array:
        """Returns logits_BTV."""
        config = self.config
        inner_BTD = layers.linear(config.hidden_size, "transform", hidden_BTD)
        inner_BTD = ACTIVATIONS[config.hidden_act](inner_BTD)
        inner_BTD = layers.layer_norm(config.layer_norm_eps, "norm")(inner_BTD)
        bias_V = self.param("bias", nn.initializers.zeros, (config.vocab_size,))
        return inner_BTD @ word_VD.T + bias_V[None, None]


def embed(
    config: TextConfig,
    params: Params,
    input_ids_BT: jax.Array,
    positions_BT: jax.Array | None = None,
) -> jax.Array:
    """Returns hidden_BTD, the embedded token ids; see `TextEmbeddings`."""
    return modules.apply(TextEmbeddings(config), params, input_ids_BT, positions_BT)


def apply_block(
    config: BlockSizes,
    row: Rows,
    hidden_BTD: jax.Array,
    bias: jax.Array | None,
    states_BSD: jax.Array | None = None,
    states_bias: jax.Array | None = None,
    *,
    adapt: Adapt = identity,
    name: str | None = None,
) -> jax.Array:
    """Runs one block; see `BertBlock`. A row of several blocks tells them apart by name."""
    inputs = (hidden_BTD, bias, states_BSD, states_bias, adapt)
    return modules.apply(BertBlock(config, name=name), row, *inputs)


def run(
    config: TextConfig,
    rows: Rows,
    hidden_BTD: jax.Array,
    bias: jax.Array,
    states_BSD: jax.Array | None = None,
    states_bias: jax.Array | None = None,
) -> jax.Array:
    """Runs a stack that is not selectable; see `BertBlock`."""

    def block(row: Rows, hidden_BTD: jax.Array) -> jax.Array:
        return apply_block(config, row, hidden_BTD, bias, states_BSD, states_bias)

    return stacks.run(block, rows, hidden_BTD)


def init_embeddings(config: TextConfig, key: jax.Array) -> Params:
    """Initialises embeddings."""
    return modules.init(TextEmbeddings(config), key, jnp.zeros((1, 1), jnp.int32))


def init_blocks(config: TextConfig, key: jax.Array, layers: int, states_width: int | None) -> Rows:
    """Initialises blocks.

    Args:
      config: Sizes.
      key: Typed random key.
      layers: Number of blocks.
      states_width: Width of the states of cross-attention; None for blocks without it.

    Returns:
      Blocks with a leading layer axis.
    """
    hidden_BTD, bias = jnp.zeros((1, 1, config.hidden_size)), jnp.zeros((1, 1, 1, 1))
    states_BSD = None if states_width is None else jnp.zeros((1, 1, states_width))

    def init_block(key: jax.Array) -> Rows:
        inputs = (hidden_BTD, bias, states_BSD, None, identity)
        return modules.init(BertBlock(config), key, *inputs)

    return stacks.draw(init_block, key, layers)


def check_length(input_ids_BT: Array, longest: int, model: str) -> None:
    """Raises ValueError if questions have more tokens than the model takes."""
    length = input_ids_BT.shape[1]
    if length > longest:
        raise ValueError(
            f"questions have {length} tokens, this {model} takes at most {longest}: lower "
            "config.data.question_length"
        )
