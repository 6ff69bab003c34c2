"""What is ViLT (Kim et al., 2021)? One transformer over a question's tokens and an image's patches.

The text tokens come first, then the image's class token and its patches in raster order. The answer
is read off the first text token.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import adapters, modules
from f3ocus_jax.models.activations import ACTIVATIONS, gelu
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.vilt_config import ViltConfig
from f3ocus_jax.types import Batch, Params, Rows

HEAD_NORM_EPSILON = 1e-5
"""Of the LayerNorm in the answer head, which unlike the others has torch's default."""


class Embeddings(nn.Module):
    """Question and image to tokens."""

    config: ViltConfig

    @nn.compact
    def __call__(self, input_ids_BT: jax.Array, images_BHWC: jax.Array) -> jax.Array:
        """Returns hidden_BTD; T counts text tokens, the class token and the patches."""
        config, width = self.config, self.config.hidden_size
        normal = nn.initializers.normal(width**-0.5)

        def table(name: str, rows: int) -> jax.Array:
            return self.param(name, normal, (rows, width))

        word_VD = table("word", config.vocab_size)
        text_position = table("text_position", config.max_position_embeddings)
        text_type = table("text_type", config.type_vocab_size)
        modality = table("modality", config.modality_type_vocab_size)
        class_token_1D = table("class_token", 1)
        position = table("position", config.num_patches + 1)

        positions_TD = text_position[: input_ids_BT.shape[1]] + text_type[:1]
        text_BTD = jnp.take(word_VD, input_ids_BT, axis=0) + positions_TD[None]
        text_BTD = _norm(config, "text_norm")(text_BTD) + modality[None, :1]

        patches_BTD = nn.Dense(width, name="patch")(patches(images_BHWC, config.patch_size))
        class_B1D = jnp.broadcast_to(class_token_1D[None], (len(input_ids_BT), 1, width))
        image_BTD = jnp.concatenate([class_B1D, patches_BTD], axis=1)
        image_BTD = image_BTD + (position + modality[1:2])[None]
        return jnp.concatenate([text_BTD, image_BTD], axis=1)


class Block(nn.Module):
    """One transformer block with its norms in front (pre-norm)."""

    config: ViltConfig

    @nn.compact
    def __call__(
        self,
        hidden_BTD: jax.Array,
        bias_B11T: jax.Array,
        adapt: Callable[[jax.Array], jax.Array],
    ) -> jax.Array:
        """Runs the block.

        Args:
          hidden_BTD: its input.
          bias_B11T: added to the attention scores of every head and query.
          adapt: applied to the feed-forward part's output before the residual sum.

        Returns:
          hidden_BTD.
        """
        config = self.config
        normed_BTD = _norm(config, "attention_norm")(hidden_BTD)
        hidden_BTD = hidden_BTD + self.attention(normed_BTD, bias_B11T)
        inner_BTD = _norm(config, "feed_forward_norm")(hidden_BTD)
        inner_BTF = _linear(config.intermediate_size, "intermediate", inner_BTD)
        inner_BTF = ACTIVATIONS[config.hidden_act](inner_BTF)
        return hidden_BTD + adapt(_linear(config.hidden_size, "output", inner_BTF))

    def attention(self, normed_BTD: jax.Array, bias_B11T: jax.Array) -> jax.Array:
        """Lets every token look at every token that is not padding."""
        config = self.config
        heads, width = config.num_attention_heads, config.hidden_size
        batch, tokens, _ = normed_BTD.shape
        # Reshaped once, so that the backward pass keeps one copy for all three maps.
        normed = normed_BTD.reshape(batch * tokens, width)

        def project(name: str) -> jax.Array:
            projected = nn.Dense(width, use_bias=config.qkv_bias, name=name)(normed)
            # Heads lead before the products: on a CPU this halves the time of attention.
            return projected.reshape(batch, tokens, heads, -1).swapaxes(1, 2)

        query, key, value = project("query"), project("key"), project("value")
        scores = (query * (width // heads) ** -0.5) @ key.swapaxes(-1, -2) + bias_B11T
        mixed = (jax.nn.softmax(scores, axis=-1) @ value).swapaxes(1, 2)
        return _linear(width, "attention_output", mixed.reshape(batch, tokens, width))


class Readout(nn.Module):
    """Final norm and pooler."""

    config: ViltConfig

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns pooled_BD, read off the first token."""
        normed_BD = _norm(self.config, "norm")(hidden_BTD[:, 0])
        return jnp.tanh(nn.Dense(self.config.hidden_size, name="pooler")(normed_BD))


class Head(nn.Module):
    """Answer head."""

    config: ViltConfig

    @nn.compact
    def __call__(self, pooled_BD: jax.Array) -> jax.Array:
        """Returns logits_BC."""
        inner = nn.Dense(2 * self.config.hidden_size, name="hidden")(pooled_BD)
        inner = nn.LayerNorm(HEAD_NORM_EPSILON, use_fast_variance=False, name="norm")(inner)
        inner = gelu(inner)
        return nn.Dense(self.config.num_answers, name="answers")(inner)


def create(config: ViltConfig) -> Model:
    """Makes a ViLT.

    Args:
      config: its sizes.

    Returns:
      The model. `embed` takes uint8 images, which it normalises to [-1, 1] as ViLT was trained on,
      or float ones that are so already; it raises ValueError for inputs of another shape.
    """
    embeddings, block = Embeddings(config), Block(config)
    readout, head = Readout(config), Head(config)

    def embed(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        _check_shapes(config, batch)
        images_BHWC = normalise(jnp.asarray(batch.images_BHWC))
        hidden_BTD = modules.run(embeddings, params, jnp.asarray(batch.input_ids_BT), images_BHWC)
        text_mask_BT = jnp.asarray(batch.attention_mask_BT)
        return hidden_BTD, attention_bias(text_mask_BT, 1 + config.num_patches)

    def apply_block(row: Rows, adapter: Rows, hidden: jax.Array, bias: jax.Array) -> jax.Array:
        return modules.run(block, row, hidden, bias, functools.partial(adapters.apply, adapter))

    def read(params: Params, head_params: Params, hidden: jax.Array, _: jax.Array) -> jax.Array:
        return modules.run(head, head_params, modules.run(readout, params, hidden))

    return Model(
        num_layers=config.num_hidden_layers,
        num_answers=config.num_answers,
        # Drawing one array after the other would compile each of them on its own.
        init=jax.jit(functools.partial(init, config)),
        embed=embed,
        block=apply_block,
        readout=read,
    )


def init(config: ViltConfig, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      config: sizes.
      key: typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    of_embeddings, of_blocks, of_adapters, of_readout, of_head = jax.random.split(key, 5)
    layers, width = config.num_hidden_layers, config.hidden_size
    ids_BT, hidden_BTD = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, width))
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, config.num_channels))

    def init_block(key: jax.Array) -> Rows:
        no_bias = jnp.zeros((1, 1, 1, 1))
        return modules.draw(Block(config), key, hidden_BTD, no_bias, lambda hidden: hidden)

    return {
        "embeddings": modules.draw(Embeddings(config), of_embeddings, ids_BT, images_BHWC),
        "blocks": jax.vmap(init_block)(jax.random.split(of_blocks, layers)),
        "adapters": adapters.init_stack(
            of_adapters, layers=layers, width=width, bottleneck=config.adapter_size
        ),
        "readout": modules.draw(Readout(config), of_readout, hidden_BTD),
        "head": init_head(config, of_head),
    }


def init_head(config: ViltConfig, key: jax.Array) -> Params:
    """Draws a fresh answer head."""
    return modules.draw(Head(config), key, jnp.zeros((1, config.hidden_size)))


def normalise(images_BHWC: jax.Array) -> jax.Array:
    """Maps uint8 pixels to [-1, 1]; float pixels pass unchanged."""
    if not jnp.issubdtype(images_BHWC.dtype, jnp.integer):
        return images_BHWC
    return (images_BHWC.astype(jnp.float32) / 255.0 - 0.5) / 0.5


def attention_bias(text_mask_BT: jax.Array, image_tokens: int) -> jax.Array:
    """Makes the term that hides padding from attention.

    Args:
      text_mask_BT: 1 for a token and 0 for padding.
      image_tokens: how many tokens follow, all of them visible.

    Returns:
      bias_B11T, float32: 0 for a token, and for padding a number that no softmax survives.
    """
    hidden_BT = jnp.where(text_mask_BT > 0, 0.0, jnp.finfo(jnp.float32).min)
    return jnp.pad(hidden_BT, ((0, 0), (0, image_tokens)))[:, None, None, :]


def _linear(width: int, name: str, hidden_BTD: jax.Array) -> jax.Array:
    """Applies a linear map to every token; call it inside a compact module."""
    batch, tokens, _ = hidden_BTD.shape
    # As one matrix, the gradient of the weights needs no transposed copies: a tenth less time.
    rows = hidden_BTD.reshape(batch * tokens, -1)
    mapped = nn.Dense(width, name=name)(rows)
    return mapped.reshape(batch, tokens, width)


def _norm(config: ViltConfig, name: str) -> nn.LayerNorm:
    # The fast variance, mean(x²) - mean(x)², loses the digits that parity with torch needs.
    return nn.LayerNorm(config.layer_norm_eps, use_fast_variance=False, name=name)


def patches(images_BHWC: jax.Array, size: int) -> jax.Array:
    """Cuts images into flattened patches, rows first: [B, patches, size · size · channels]."""
    batch, height, width, channels = images_BHWC.shape
    grid = images_BHWC.reshape(batch, height // size, size, width // size, size, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * channels)


def _check_shapes(config: ViltConfig, batch: Batch) -> None:
    expected = (config.image_size, config.image_size, config.num_channels)
    if batch.images_BHWC.shape[1:] != expected:
        raise ValueError(
            f"images have shape {batch.images_BHWC.shape[1:]}, this ViLT takes {expected}: resize "
            "them or change image_size"
        )
    length = batch.input_ids_BT.shape[1]
    if length > config.max_position_embeddings:
        raise ValueError(
            f"questions have {length} tokens, this ViLT takes at most "
            f"{config.max_position_embeddings}: lower config.data.question_length"
        )
