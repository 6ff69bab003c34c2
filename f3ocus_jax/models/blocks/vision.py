"""What is a vision transformer (Dosovitskiy et al., 2021)? Patches and pre-norm blocks."""

import dataclasses
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import layers, modules
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.layers import Adapt, BlockSizes, identity
from f3ocus_jax.models.sizes import Sizes
from f3ocus_jax.types import Batch, Params, Rows

CHANNELS = 3


@dataclasses.dataclass(frozen=True)
class VisionConfig:
    """Sizes of a vision transformer by their Hugging Face names; the defaults are transformers'.

    Attributes:
      hidden_size: D.
      num_hidden_layers: blocks.
      num_attention_heads: heads, each of D / heads dimensions.
      intermediate_size: width of the feed-forward part.
      hidden_act: its activation, a key of `ACTIVATIONS`.
      layer_norm_eps: of every LayerNorm.
      image_size: side of the square image, in pixels.
      patch_size: side of a patch, in pixels.
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
        """Patches of an image."""
        return (self.image_size // self.patch_size) ** 2


class VisionEmbeddings(nn.Module):
    """An image to tokens."""

    config: VisionConfig

    @nn.compact
    def __call__(self, images_BHWC: jax.Array) -> jax.Array:
        """Returns hidden_BTD: the class token, then the patches in raster order."""
        config = self.config
        normal = nn.initializers.normal(config.hidden_size**-0.5)
        class_token = self.param("class_token", normal, (1, config.hidden_size))
        position = self.param("position", normal, (config.num_patches + 1, config.hidden_size))
        hidden_BTD = image_tokens(images_BHWC, class_token, config.patch_size)
        return hidden_BTD + position[None]


class PreNormBlock(nn.Module):
    """One transformer block with its norms in front of attention and feed-forward part."""

    sizes: BlockSizes
    qkv_bias: bool = True

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array, bias: jax.Array | None, adapt: Adapt) -> jax.Array:
        """Runs the block.

        Args:
          hidden_BTD: its input.
          bias: [B, 1, 1, T], added to the attention scores of every head and query, or None.
          adapt: applied to the feed-forward part's output before the residual sum.

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
    """The norm after the last block, which pre-norm blocks leave to do."""

    epsilon: float

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns hidden_BTD, normed."""
        return layers.layer_norm(self.epsilon, "norm")(hidden_BTD)


def init(config: VisionConfig, key: jax.Array) -> Params:
    """Draws a fresh image encoder.

    Args:
      config: sizes.
      key: typed random key.

    Returns:
      The parts vision_embeddings, vision_blocks (with a leading layer axis) and vision_norm.
    """
    of_embeddings, of_blocks, of_norm = jax.random.split(key, 3)
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, CHANNELS))
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))

    def init_block(key: jax.Array) -> Rows:
        return modules.init(PreNormBlock(config), key, hidden_BTD, None, identity)

    return {
        "vision_embeddings": modules.init(VisionEmbeddings(config), of_embeddings, images_BHWC),
        "vision_blocks": stacks.draw(init_block, of_blocks, config.num_hidden_layers),
        "vision_norm": modules.init(FinalNorm(config.layer_norm_eps), of_norm, hidden_BTD),
    }


def embed(config: VisionConfig, parts: Params, images_BHWC: jax.Array) -> jax.Array:
    """Returns the hidden_BTD of normalised images."""
    return modules.apply(VisionEmbeddings(config), parts["vision_embeddings"], images_BHWC)


def apply_block(
    config: VisionConfig, row: Rows, hidden_BTD: jax.Array, adapt: Adapt = identity
) -> jax.Array:
    """Runs one block; see `PreNormBlock`."""
    return modules.apply(PreNormBlock(config), row, hidden_BTD, None, adapt)


def final_norm(config: VisionConfig, parts: Params, hidden_BTD: jax.Array) -> jax.Array:
    """Norms what the last block gave."""
    return modules.apply(FinalNorm(config.layer_norm_eps), parts["vision_norm"], hidden_BTD)


def encode(config: VisionConfig, parts: Params, hidden_BTD: jax.Array) -> jax.Array:
    """Runs all blocks and the norm, where the stack is not selectable."""
    rows = parts["vision_blocks"]
    hidden_BTD = stacks.run(lambda row, hidden: apply_block(config, row, hidden), rows, hidden_BTD)
    return final_norm(config, parts, hidden_BTD)


def image_tokens(images_BHWC: jax.Array, class_token_1D: jax.Array, patch_size: int) -> jax.Array:
    """Makes an image's tokens without their positions; call it inside a compact module.

    Args:
      images_BHWC: normalised images.
      class_token_1D: the token in front.
      patch_size: side of a patch, in pixels.

    Returns:
      hidden_BTD: the class token, then the patches in raster order.
    """
    width = class_token_1D.shape[-1]
    patches_BTD = nn.Dense(width, name="patch")(patches(images_BHWC, patch_size))
    class_B1D = jnp.broadcast_to(class_token_1D[None], (len(images_BHWC), 1, width))
    return jnp.concatenate([class_B1D, patches_BTD], axis=1)


def patches(images_BHWC: jax.Array, size: int) -> jax.Array:
    """Cuts images into flattened patches, rows first: [B, patches, size · size · channels]."""
    batch, height, width, channels = images_BHWC.shape
    grid = images_BHWC.reshape(batch, height // size, size, width // size, size, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, size * size * channels)


def pixels(config: Sizes, batch: Batch, model: str) -> jax.Array:
    """Checks a batch's images and scales them as a model was trained on.

    Args:
      config: sizes of the model.
      batch: B examples.
      model: its name in messages.

    Returns:
      images_BHWC, float32 of uint8 images, and float ones unchanged.

    Raises:
      ValueError: if the images have another shape than the model takes.
    """
    check_image(batch.images_BHWC, config.image_size, CHANNELS, model)
    return normalise(jnp.asarray(batch.images_BHWC), config.image_mean, config.image_std)


def normalise(
    images_BHWC: jax.Array, mean: Sequence[float], deviation: Sequence[float]
) -> jax.Array:
    """Scales integer pixels as a model was trained on; float pixels pass unchanged.

    Args:
      images_BHWC: uint8 in [0, 255], or float.
      mean: subtracted from a channel's share of 255; one number per channel, or one for all.
      deviation: what the difference is divided by.

    Returns:
      images_BHWC, float32.
    """
    if not jnp.issubdtype(images_BHWC.dtype, jnp.integer):
        return images_BHWC
    shares = images_BHWC.astype(jnp.float32) / 255.0
    per_channel = (1, 1, 1, -1)
    return (shares - jnp.array(mean).reshape(per_channel)) / jnp.array(deviation).reshape(
        per_channel
    )


def inside(size_B2: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Tells where images are that lie in the top left corner of a canvas.

    Args:
      size_B2: int32, height and width of the images.
      shape: height and width of the canvas, in the same unit.

    Returns:
      bool [B, height, width].
    """
    rows_BH, columns_BW = (
        jnp.arange(length)[None] < size_B2[:, axis, None] for axis, length in enumerate(shape)
    )
    return rows_BH[:, :, None] & columns_BW[:, None, :]


def check_image(images_BHWC: jax.Array, side: int, channels: int, model: str) -> None:
    """Raises ValueError for images of another shape than a model takes."""
    expected = (side, side, channels)
    if images_BHWC.shape[1:] != expected:
        raise ValueError(
            f"images have shape {images_BHWC.shape[1:]}, this {model} takes {expected}: resize "
            "them or change image_size"
        )
