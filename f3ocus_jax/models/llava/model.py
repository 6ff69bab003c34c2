"""LLaVA-1.5 (Liu et al., 2023): a language model that reads the patches of an image as words.

The image goes through CLIP's encoder and a projector of two linear maps; see `image_tokens`.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import image_tokens, stacks
from f3ocus_jax.models.blocks import clip, layers, modules, vision
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.image_tokens import ImageReader
from f3ocus_jax.models.llava.config import LlavaConfig
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.types import Params


class Projector(nn.Module):
    """Two linear maps from image states to tokens of the language model."""

    config: LlavaConfig

    @nn.compact
    def __call__(self, hidden_BPD: jax.Array) -> jax.Array:
        """Returns the tokens of P patches."""
        config, width = self.config, self.config.text_config.hidden_size
        use_bias = config.multimodal_projector_bias
        hidden_BPD = layers.linear(width, "first", hidden_BPD, use_bias=use_bias)
        hidden_BPD = ACTIVATIONS[config.projector_hidden_act](hidden_BPD)
        return layers.linear(width, "second", hidden_BPD, use_bias=use_bias)


def layout(config: LlavaConfig) -> ParameterLayout:
    """Returns the layout of the parameters; "vision_unused" never runs."""
    del config
    image = ("vision_embeddings", "vision_blocks", "projector")
    trunk = ("language_blocks", "vision_unused", "language_norm", "scores")
    return ParameterLayout((image, ("words",)), trunk)


def _embed(config: LlavaConfig, params: Params, images_BHWC: jax.Array) -> jax.Array:
    return clip.embed(config.vision_config, params, images_BHWC)


def _project(config: LlavaConfig, params: Params, image_BPD: jax.Array) -> jax.Array:
    """Projects the image's states, without its class token."""
    return modules.apply(Projector(config), params["projector"], image_BPD[:, 1:])


def _init(
    config: LlavaConfig, vision_key: jax.Array, projector_key: jax.Array
) -> dict[str, Params]:
    embeddings_key, blocks_key, norm_key, unused_key = jax.random.split(vision_key, 4)
    image, used = config.vision_config, config.vision_layers
    draw_block = functools.partial(clip.init_block, image)
    hidden_BTD = jnp.zeros((1, 1, image.hidden_size))
    unused = modules.init(vision.FinalNorm(image.layer_norm_eps), norm_key, hidden_BTD)
    if used < image.num_hidden_layers:
        unused["blocks"] = stacks.draw(draw_block, unused_key, image.num_hidden_layers - used)
    return {
        "vision_embeddings": clip.init_embeddings(image, embeddings_key),
        "vision_blocks": stacks.draw(draw_block, blocks_key, used),
        "vision_unused": unused,
        "projector": modules.init(Projector(config), projector_key, hidden_BTD),
    }


READER = ImageReader(layout=layout, embed=_embed, project=_project, init=_init)

make_model = image_tokens.model_factory(READER)
"""Maps a specification to a LLaVA."""
