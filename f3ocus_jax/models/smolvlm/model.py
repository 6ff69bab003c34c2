"""SmolVLM (Marafioti et al., 2025) and Idefics3 (Laurençon et al., 2024), which are one model.

The image goes through SigLIP's encoder, and a linear map makes a token of every square of patches.
The language model reads these among the question's tokens; see `image_tokens`.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import image_tokens
from f3ocus_jax.models.blocks import layers, modules, siglip, vision
from f3ocus_jax.models.image_tokens import ImageReader
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.models.smolvlm.config import SmolVlmConfig
from f3ocus_jax.types import Params


class Connector(nn.Module):
    """Linear map from squares of image states to tokens of the language model."""

    config: SmolVlmConfig

    @nn.compact
    def __call__(self, hidden_BPD: jax.Array) -> jax.Array:
        """Returns the tokens of the image."""
        shuffled = pixel_shuffle(hidden_BPD, self.config.scale_factor)
        width = self.config.text_config.hidden_size
        return layers.linear(width, "projection", shuffled, use_bias=False)


def pixel_shuffle(hidden_BPD: jax.Array, factor: int) -> jax.Array:
    """Joins the states of every square of patches to one (Laurençon et al., 2024).

    Args:
      hidden_BPD: States of a square grid of patches in row-major order.
      factor: Side of a square, in patches; divides the side of the grid.

    Returns:
      [B, P / factor², factor² D], squares and the patches in a square in row-major order.
    """
    batch, patches, width = hidden_BPD.shape
    side = round(patches**0.5) // factor
    grid = hidden_BPD.reshape(batch, side, factor, side, factor, width)
    return grid.swapaxes(2, 3).reshape(batch, side * side, factor * factor * width)


def layout(config: SmolVlmConfig) -> ParameterLayout:
    """Returns the layout of the parameters."""
    image = ("vision_embeddings", "vision_blocks", "vision_norm", "connector")
    above = image_tokens.make_language_model(config).above
    return ParameterLayout((image, ("words",)), ("language_blocks", *above))


def _embed(config: SmolVlmConfig, params: Params, images_BHWC: jax.Array) -> jax.Array:
    return siglip.embed(config.vision_config, params, images_BHWC)


def _project(config: SmolVlmConfig, params: Params, image_BPD: jax.Array) -> jax.Array:
    normed_BPD = vision.final_norm(config.vision_config, params, image_BPD)
    return modules.apply(Connector(config), params["connector"], normed_BPD)


def _init(
    config: SmolVlmConfig, vision_key: jax.Array, connector_key: jax.Array
) -> dict[str, Params]:
    image = config.vision_config
    hidden_BPD = jnp.zeros((1, config.scale_factor**2, image.hidden_size))
    connector = modules.init(Connector(config), connector_key, hidden_BPD)
    return {**siglip.init(image, vision_key), "connector": connector}


READER = ImageReader(layout=layout, embed=_embed, project=_project, init=_init)

make_model = image_tokens.model_factory(READER)
"""Maps a specification to a SmolVLM."""
