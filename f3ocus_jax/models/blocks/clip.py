"""The image encoder of CLIP (Radford et al., 2021), as far as vision-language models use it.

Its patch embedding has no bias, a norm precedes the blocks, and the blocks are those of `vision`.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks import layers, modules, vision
from f3ocus_jax.models.blocks.layers import identity
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.types import Params, Rows

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and standard deviation per channel of CLIP's training images, in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class ClipConfig(VisionConfig):
    """Sizes by their Hugging Face names, with the defaults of transformers."""

    model_type: str = "clip_vision_model"
    hidden_act: str = "quick_gelu"
    image_size: int = 224
    patch_size: int = 32
    projection_dim: int = 512  # no vision-language model here uses this projection

    def __post_init__(self) -> None:
        super().__post_init__()
        sizes.check(self, "vision", choices={"model_type": ("clip_vision_model",)})


class ClipEmbeddings(nn.Module):
    """Embeds an image as tokens."""

    config: ClipConfig

    @nn.compact
    def __call__(self, images_BHWC: jax.Array) -> jax.Array:
        """Returns hidden_BTD: the class token, then the patches in row-major order."""
        config, width = self.config, self.config.hidden_size
        normal = nn.initializers.normal(width**-0.5)
        class_token_1D = self.param("class_token", normal, (1, width))
        position = self.param("position", normal, (config.num_patches + 1, width))
        patches = vision.patches(images_BHWC, config.patch_size)
        patches_BTD = nn.Dense(width, use_bias=False, name="patch")(patches)
        class_B1D = jnp.broadcast_to(class_token_1D[None], (len(images_BHWC), 1, width))
        hidden_BTD = jnp.concatenate([class_B1D, patches_BTD], axis=1) + position[None]
        return layers.layer_norm(config.layer_norm_eps, "norm")(hidden_BTD)


def init_embeddings(config: ClipConfig, key: jax.Array) -> Params:
    """Initialises embeddings."""
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, vision.CHANNELS))
    return modules.init(ClipEmbeddings(config), key, images_BHWC)


def init_block(config: ClipConfig, key: jax.Array) -> Rows:
    """Initialises one block."""
    hidden_BTD = jnp.zeros((1, 1, config.hidden_size))
    return modules.init(vision.PreNormBlock(config), key, hidden_BTD, None, identity)


def embed(config: ClipConfig, params: Params, images_BHWC: jax.Array) -> jax.Array:
    """Returns hidden_BTD, the embedded normalised images, of the parameters' dtype."""
    return vision.embed_in_own_dtype(ClipEmbeddings(config), params, images_BHWC)
