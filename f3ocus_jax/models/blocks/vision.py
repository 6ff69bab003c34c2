"""Vision transformers (Dosovitskiy et al., 2021): patch embeddings and pre-norm blocks."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.layers import Adapt, BlockSizes, identity
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Array, Batch, Params, Rows

CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Sizes of a vision transformer by their Hugging Face names, with the defaults of transformers.

    Attributes:
      hidden_size: D.
      num_hidden_layers: Number of blocks.
      num_attention_heads: Number of heads, each of D / heads dimensions.
      intermediate_size: Width of the feed-forward layer.
      hidden_act: Activation of the feed-forward layer, a key of `ACTIVATIONS`.
      layer_norm_eps: Epsilon of every LayerNorm.
      image_size: Side of the square image, in pixels.
      patch_size: Side of a patch, in pixels.
    """

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    image_size: int = 384
    patch_size: int = 16

    def __post_init__(self) -> None:
        sizes.check(
            self,
            "vision",
            choices={"hidden_act": tuple(ACTIVATIONS)},
            multiples=(("hidden_size", "num_attention_heads"), ("image_size", "patch_size")),
        )

    @property
    def num_patches(self) -> int:
        """Number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2


class VisionEmbeddings(nn.Module):
    """Embeds an image as tokens."""

    config: VisionConfig

    @nn.compact
    def __call__(self, images_BHWC: jax.Array) -> jax.Array:
        """Returns hidden_BTD: the class token, then the patches in row-major order."""
        config = self.config
        normal = nn.initializers.normal(config.hidden_size**-0.5)
        class_token = self.param("class_token", normal, (1, config.hidden_size))
        position = self.param("position", normal, (config.num_patches + 1, config.hidden_size))
        hidden_BTD = embed_patches(images_BHWC, class_token, config.patch_size)
        return hidden_BTD + position[None]


class PreNormBlock(nn.Module):
    """One pre-norm transformer block: norms precede attention and the feed-forward layer."""

    sizes: BlockSizes
    qkv_bias: bool = True

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array, bias: jax.Array | None, adapt: Adapt) -> jax.Array:
        """Runs the block.

        Args:
          hidden_BTD: Input of the block.
          bias: [B, 1, 1, T], added to the attention logits of every head and query, or None.
          adapt: Applied to the feed-forward layer's output before the residual sum.

        Returns:
          hidden_BTD.
        """
        epsilon = self.sizes.layer_norm_eps
        normed_BTD = layers.layer_norm(epsilon, "attention_norm")(hidden_BTD)
        hidden_BTD = hidden_BTD + layers.attention(
            self.sizes, normed_BTD, normed_BTD, bias, use_bias=self.qkv_bias
        )
        normed_BTD = layers.layer_norm(epsilon, "feed_forward_norm")(hidden_BTD)
        return hidden_BTD + adapt(layers.feed_forward(self.sizes, normed_BTD))


class FinalNorm(nn.Module):
    """The norm after the last of the pre-norm blocks."""

    epsilon: float

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns hidden_BTD, normed."""
        return layers.layer_norm(self.epsilon, "norm")(hidden_BTD)


def init(config: VisionConfig, key: jax.Array) -> Params:
    """Initialises an image encoder.

    Args:
      config: Sizes.
      key: Typed random key.

    Returns:
      "vision_embeddings", "vision_blocks" (with a leading layer axis) and "vision_norm".
    """
    embeddings_key, blocks_key, norm_key = jax.random.split(key, 3)
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, CHANNELS))
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))

    def init_block(key: jax.Array) -> Rows:
        return modules.init(PreNormBlock(config), key, hidden_BTD, None, identity)

    return {
        "vision_embeddings": modules.init(VisionEmbeddings(config), embeddings_key, images_BHWC),
        "vision_blocks": stacks.draw(init_block, blocks_key, config.num_hidden_layers),
        "vision_norm": modules.init(FinalNorm(config.layer_norm_eps), norm_key, hidden_BTD),
    }


def embed(config: VisionConfig, parts: Params, images_BHWC: jax.Array) -> jax.Array:
    """Returns hidden_BTD, the embedded normalised images."""
    return modules.apply(VisionEmbeddings(config), parts["vision_embeddings"], images_BHWC)


def embed_in_own_dtype(module: nn.Module, params: Params, images_BHWC: jax.Array) -> jax.Array:
    """Embeds normalised images as tokens, in the dtype of the embedding's parameters.

    Args:
      module: Embedding whose patches have a map "patch".
      params: Its parameters.
      images_BHWC: Normalised images, float.

    Returns:
      Hidden states with axes B, tokens and D, of the parameters' dtype.
    """
    # Wider pixels would widen every hidden state after them.
    return modules.apply(module, params, images_BHWC.astype(params["patch"]["kernel"].dtype))


def apply_block(
    config: VisionConfig, row: Rows, hidden_BTD: jax.Array, adapt: Adapt = identity
) -> jax.Array:
    """Runs one block; see `PreNormBlock`."""
    return modules.apply(PreNormBlock(config), row, hidden_BTD, None, adapt)


def final_norm(config: VisionConfig, parts: Params, hidden_BTD: jax.Array) -> jax.Array:
    """Applies the norm after the last block."""
    return modules.apply(FinalNorm(config.layer_norm_eps), parts["vision_norm"], hidden_BTD)


def encode(config: VisionConfig, parts: Params, hidden_BTD: jax.Array) -> jax.Array:
    """Runs all blocks and the final norm of a stack that is not selectable."""
    rows = parts["vision_blocks"]
    hidden_BTD = stacks.run(lambda row, hidden: apply_block(config, row, hidden), rows, hidden_BTD)
    return final_norm(config, parts, hidden_BTD)


def embed_patches(images_BHWC: jax.Array, class_token_1D: jax.Array, patch_size: int) -> jax.Array:
    """Embeds images as tokens without positions; to be called inside a compact module.

    Args:
      images_BHWC: Normalised images.
      class_token_1D: Token that precedes the patches.
      patch_size: Side of a patch, in pixels.

    Returns:
      hidden_BTD: the class token, then the patches in row-major order.
    """
    width = class_token_1D.shape[-1]
    patches_BTD = nn.Dense(width, name="patch")(patches(images_BHWC, patch_size))
    class_B1D = jnp.broadcast_to(class_token_1D[None], (len(images_BHWC), 1, width))
    return jnp.concatenate([class_B1D, patches_BTD], axis=1)


def patches(images_BHWC: jax.Array, size: int) -> jax.Array:
    """Cuts images into flattened patches in row-major order: [B, T, size · size · channels]."""
    batch, height, width, channels = images_BHWC.shape
    grid = images_BHWC.reshape(batch, height // size, size, width // size, size, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * channels)


def prepare_images(spec: ModelSpec[Any], batch: Batch) -> jax.Array:
    """Checks the shape of a batch's images and normalises them for a model.

    Args:
      spec: Specification of the model.
      batch: B examples.

    Returns:
      images_BHWC: float32 for uint8 images; float images pass unchanged.

    Raises:
      ValueError: If the images have another shape than the model takes.
    """
    config, setup = spec.config, spec.setup
    check_image_shape(batch.images_BHWC, config.image_size, CHANNELS, config.NAME)
    return normalise(jnp.asarray(batch.images_BHWC), setup.image_mean, setup.image_std)


def normalise(
    images_BHWC: jax.Array, mean: Sequence[float], deviation: Sequence[float]
) -> jax.Array:
    """Normalises integer pixels to the range a model was trained on; float pixels pass unchanged.

    Args:
      images_BHWC: uint8 in [0, 255], or float.
      mean: Mean of the pixels in [0, 1]; one number per channel, or one for all.
      deviation: Standard deviation of the pixels in [0, 1], like `mean`.

    Returns:
      images_BHWC, float32.
    """
    if not jnp.issubdtype(images_BHWC.dtype, jnp.integer):
        return images_BHWC
    scaled = images_BHWC.astype(jnp.float32) / 255.0
    per_channel = (1, 1, 1, -1)
    return (scaled - jnp.array(mean).reshape(per_channel)) / jnp.array(deviation).reshape(
        per_channel
    )


def image_mask(size_B2: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Masks the area of images that lie in the top left corner of a canvas.

    Args:
      size_B2: int32, height and width of the images.
      shape: Height and width of the canvas, in the same unit.

    Returns:
      bool [B, height, width], True inside of an image.
    """
    rows_BH, columns_BW = (
        jnp.arange(length)[None] < size_B2[:, axis, None] for axis, length in enumerate(shape)
    )
    return rows_BH[:, :, None] & columns_BW[:, None, :]


def check_image_shape(images_BHWC: Array, side: int, channels: int, model: str) -> None:
    """Raises ValueError if images have another shape than the model takes."""
    expected = (side, side, channels)
    if images_BHWC.shape[1:] != expected:
        raise ValueError(
            f"images have shape {images_BHWC.shape[1:]}, this {model} takes {expected}: resize "
            "them or change image_size"
        )
