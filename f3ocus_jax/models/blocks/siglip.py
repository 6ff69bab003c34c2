"""The image encoder of SigLIP (Zhai et al., 2023), as far as vision-language models use it.

It has no class token, its patch embedding has a bias, and the blocks are those of `vision`.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes, stacks
from f3ocus_jax.models.blocks import modules, vision
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.layers import identity
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.types import Params, Rows

MEAN = STD = (0.5,)
"""Mean and standard deviation of the pixels in all channels, in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class SiglipConfig(VisionConfig):
    """Sizes by their Hugging Face names, with the defaults of transformers for Idefics3.

    The patches need not cover an image: pixels beyond the last whole patch are not read.
    """

    hidden_size: int = 1152
    num_attention_heads: int = 16
    hidden_act: str = "gelu_pytorch_tanh"
    layer_norm_eps: float = 1e-6
    image_size: int = 224
    patch_size: int = 32

    def __post_init__(self) -> None:
        sizes.check(
            self,
            "vision",
            choices={"hidden_act": tuple(ACTIVATIONS)},
            multiples=(("hidden_size", "num_attention_heads"),),
        )
        if self.patch_size > self.image_size:
            raise ConfigError(
                f"vision patch_size = {self.patch_size}, must be at most "
                f"image_size = {self.image_size}"
            )

    @property
    def side(self) -> int:
        """Number of patches along an edge of the image."""
        return self.image_size // self.patch_size


class SiglipEmbeddings(nn.Module):
    """Embeds an image as tokens."""

    config: SiglipConfig

    @nn.compact
    def __call__(self, images_BHWC: jax.Array) -> jax.Array:
        """Returns hidden_BPD, the patches in row-major order."""
        config, width = self.config, self.config.hidden_size
        normal = nn.initializers.normal(width**-0.5)
        position = self.param("position", normal, (config.num_patches, width))
        covered = config.side * config.patch_size
        patches = vision.patches(images_BHWC[:, :covered, :covered], config.patch_size)
        return nn.Dense(width, name="patch")(patches) + position[None]


def init(config: SiglipConfig, key: jax.Array) -> Params:
    """Initialises an image encoder.

    Args:
      config: Sizes.
      key: Typed random key.

    Returns:
      "vision_embeddings", "vision_blocks" (with a leading layer axis) and "vision_norm".
    """
    embeddings_key, blocks_key, norm_key = jax.random.split(key, 3)
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, vision.CHANNELS))
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))

    def init_block(key: jax.Array) -> Rows:
        return modules.init(vision.PreNormBlock(config), key, hidden_BTD, None, identity)

    return {
        "vision_embeddings": modules.init(SiglipEmbeddings(config), embeddings_key, images_BHWC),
        "vision_blocks": stacks.draw(init_block, blocks_key, config.num_hidden_layers),
        "vision_norm": modules.init(vision.FinalNorm(config.layer_norm_eps), norm_key, hidden_BTD),
    }


def embed(config: SiglipConfig, params: Params, images_BHWC: jax.Array) -> jax.Array:
    """Returns hidden_BPD, the embedded normalised images, of the parameters' dtype."""
    return vision.embed_in_own_dtype(SiglipEmbeddings(config), params, images_BHWC)
