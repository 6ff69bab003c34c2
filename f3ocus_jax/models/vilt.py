"""What is ViLT (Kim et al., 2021)? One transformer over a question's tokens and an image's patches.

The text tokens come first, then the image's class token and its patches in raster order. The answer
is read off the first text token.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import adapters, bert, head as head_lib, layers, modules, stacks, vision
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.vilt_config import ViltConfig
from f3ocus_jax.types import Batch, Params, Rows


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
        text_BTD = layers.norm(config.layer_norm_eps, "text_norm")(text_BTD) + modality[None, :1]

        image_BTD = vision.image_tokens(images_BHWC, class_token_1D, config.patch_size)
        image_BTD = image_BTD + (position + modality[1:2])[None]
        return jnp.concatenate([text_BTD, image_BTD], axis=1)


class Readout(nn.Module):
    """Final norm and pooler."""

    config: ViltConfig

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns pooled_BD, read off the first token."""
        normed_BD = layers.norm(self.config.layer_norm_eps, "norm")(hidden_BTD[:, 0])
        return jnp.tanh(nn.Dense(self.config.hidden_size, name="pooler")(normed_BD))


def create(config: ViltConfig) -> Model:
    """Makes a ViLT.

    Args:
      config: its sizes.

    Returns:
      The model. `embed` takes uint8 images, which it normalises as the config says, or float ones
      that are so already; it raises ValueError for inputs of another shape.
    """
    embeddings, block = Embeddings(config), _block(config)
    readout = Readout(config)

    def embed(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        vision.check_image(batch.images_BHWC, config.image_size, config.num_channels, "ViLT")
        bert.check_length(batch.input_ids_BT, config.max_position_embeddings, "ViLT")
        images_BHWC = vision.normalise(
            jnp.asarray(batch.images_BHWC), config.image_mean, config.image_std
        )
        hidden_BTD = modules.run(embeddings, params, jnp.asarray(batch.input_ids_BT), images_BHWC)
        image_mask_BT = jnp.ones((len(hidden_BTD), 1 + config.num_patches), jnp.int32)
        mask_BT = jnp.concatenate([jnp.asarray(batch.attention_mask_BT), image_mask_BT], axis=1)
        return hidden_BTD, layers.padding_bias(mask_BT)

    def apply_block(row: Rows, adapter: Rows, hidden: jax.Array, bias: jax.Array) -> jax.Array:
        return modules.run(block, row, hidden, bias, functools.partial(adapters.apply, adapter))

    def read(params: Params, head_params: Params, hidden: jax.Array, _: jax.Array) -> jax.Array:
        return head_lib.read(head_params, modules.run(readout, params, hidden))

    return Model(
        num_layers=config.num_hidden_layers,
        num_answers=config.num_answers,
        # Drawing one array after the other would compile each of them on its own.
        init=jax.jit(functools.partial(init, config)),
        embed=embed,
        block=apply_block,
        readout=read,
        extend=layers.extend_bias,
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
    depth, width = config.rows
    ids_BT, hidden_BTD = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, width))
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, config.num_channels))
    return {
        "embeddings": modules.draw(Embeddings(config), of_embeddings, ids_BT, images_BHWC),
        "blocks": stacks.draw(
            lambda key: modules.draw(_block(config), key, hidden_BTD, None, layers.unchanged),
            of_blocks,
            depth,
        ),
        "adapters": adapters.init_stack(
            of_adapters, layers=depth, width=width, bottleneck=config.adapter_size
        ),
        "readout": modules.draw(Readout(config), of_readout, hidden_BTD),
        "head": head_lib.init(of_head, num_answers=config.num_answers, width=width),
    }


def _block(config: ViltConfig) -> vision.PreNormBlock:
    return vision.PreNormBlock(config, config.qkv_bias)
