"""ViLT (Kim et al., 2021): one transformer over the tokens of a question and patches of an image.

The text tokens come first, then the image's class token and its patches in raster order. The answer
head reads the first text token. If images differ in size, each lies in the top left corner of a
canvas: position embeddings are resized to the patches of each, and patches beyond it are masked.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import base, head as head_lib, stacks
from f3ocus_jax.models.blocks import adapters, bert, layers, modules, positions, vision
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.models.vilt.config import ViltConfig
from f3ocus_jax.types import Batch, Params, Rows


class Embeddings(nn.Module):
    """Embeddings of a question and an image."""

    config: ViltConfig

    @nn.compact
    def __call__(
        self, input_ids_BT: jax.Array, images_BHWC: jax.Array, grid_B2: jax.Array | None = None
    ) -> jax.Array:
        """Makes the tokens.

        Args:
          input_ids_BT: Token ids of the questions.
          images_BHWC: Normalised images of the config's size, or canvases of any size.
          grid_B2: int32, rows and columns of patches of each image on its canvas.

        Returns:
          hidden_BTD; T counts text tokens, the class token and the patches.
        """
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
        text_BTD = (
            layers.layer_norm(config.layer_norm_eps, "text_norm")(text_BTD) + modality[None, :1]
        )

        image_BTD = vision.embed_patches(images_BHWC, class_token_1D, config.patch_size)
        if grid_B2 is None:
            position_BTD = position[None]
        else:
            position_BTD = positions.resize_batch(position, grid_B2, _patches(config, images_BHWC))
        image_BTD = image_BTD + (position_BTD + modality[None, 1:2])
        return jnp.concatenate([text_BTD, image_BTD], axis=1)


class Readout(nn.Module):
    """Final norm and pooler."""

    config: ViltConfig

    @nn.compact
    def __call__(self, hidden_BTD: jax.Array) -> jax.Array:
        """Returns pooled_BD, read off the first token."""
        normed_BD = layers.layer_norm(self.config.layer_norm_eps, "norm")(hidden_BTD[:, 0])
        return jnp.tanh(nn.Dense(self.config.hidden_size, name="pooler")(normed_BD))


def _embed(
    spec: ModelSpec[ViltConfig], params: Params, batch: Batch
) -> tuple[jax.Array, jax.Array]:
    """Returns (hidden_BTD, bias_B11T that hides padding); raises ValueError for other shapes."""
    config, setup = spec.config, spec.setup
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, config.NAME)
    images_BHWC = vision.normalise(
        jnp.asarray(batch.images_BHWC), setup.image_mean, setup.image_std
    )
    if batch.image_size_B2 is None:
        vision.check_image_shape(images_BHWC, config.image_size, config.num_channels, config.NAME)
        grid_B2, patch_mask_BP = None, jnp.ones((len(images_BHWC), config.num_patches), bool)
    else:
        size_B2 = jnp.asarray(batch.image_size_B2)
        images_BHWC, grid_B2, patch_mask_BP = _without_padding(config, images_BHWC, size_B2)
    ids_BT = jnp.asarray(batch.input_ids_BT)
    hidden_BTD = modules.apply(Embeddings(config), params, ids_BT, images_BHWC, grid_B2)
    # The class token is always seen.
    image_mask_BT = jnp.pad(patch_mask_BP, ((0, 0), (1, 0)), constant_values=True)
    text_mask_BT = jnp.asarray(batch.attention_mask_BT)
    mask_BT = jnp.concatenate([text_mask_BT, image_mask_BT.astype(jnp.int32)], axis=1)
    return hidden_BTD, layers.padding_bias(mask_BT)


def _apply_block(
    spec: ModelSpec[ViltConfig], row: Rows, adapter: Rows, hidden: jax.Array, bias: jax.Array
) -> jax.Array:
    adapt = functools.partial(adapters.apply, adapter)
    return modules.apply(_block(spec.config), row, hidden, bias, adapt)


def _extend(spec: ModelSpec[ViltConfig], bias: jax.Array, tokens: int) -> jax.Array:
    del spec
    return layers.prepend_visible(bias, tokens)


def _read(
    spec: ModelSpec[ViltConfig], params: Params, head: Params, hidden: jax.Array, bias: jax.Array
) -> jax.Array:
    del bias
    return head_lib.read(head, modules.apply(Readout(spec.config), params, hidden))


def init(spec: ModelSpec[ViltConfig], key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      spec: Specification of the model.
      key: Typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    embeddings_key, blocks_key, adapters_key, readout_key, head_key = jax.random.split(key, 5)
    config, width = spec.config, spec.config.hidden_size
    ids_BT, hidden_BTD = jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, width))
    images_BHWC = jnp.zeros((1, config.image_size, config.image_size, config.num_channels))
    return {
        "embeddings": modules.init(Embeddings(config), embeddings_key, ids_BT, images_BHWC),
        "blocks": stacks.draw(
            lambda key: modules.init(_block(config), key, hidden_BTD, None, layers.identity),
            blocks_key,
            config.num_hidden_layers,
        ),
        "readout": modules.init(Readout(config), readout_key, hidden_BTD),
        **base.init_trainable(spec, adapters_key, head_key, head_width=width),
    }


make_model = base.model_factory(
    init=init, embed=_embed, block=_apply_block, readout=_read, extend=_extend
)
"""Maps a specification to a ViLT.

`embed` takes uint8 images, which it normalises, or float ones that are normalised already. If a
batch has sizes of its images, their canvas may have any sides that patches fill."""


def _without_padding(
    config: ViltConfig, images_BHWC: jax.Array, size_B2: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Sets canvases to 0 beyond their images, and finds the patches of these.

    Args:
      config: Sizes.
      images_BHWC: Normalised canvases of any height and width that patches fill.
      size_B2: int32, height and width of the images, in pixels.

    Returns:
      (images_BHWC, 0 beyond the image; int32 grid_B2, rows and columns of patches of an image, of
      which the last may be filled in part; bool mask_BP of these patches).

    Raises:
      ValueError: For a canvas of another shape.
    """
    height, width, channels = images_BHWC.shape[1:]
    if height % config.patch_size or width % config.patch_size or channels != config.num_channels:
        raise ValueError(
            f"the images' canvas has shape {images_BHWC.shape[1:]}, this ViLT takes edges that are "
            f"multiples of {config.patch_size}, and {config.num_channels} channels"
        )
    is_image_BHW = vision.image_mask(size_B2, (height, width))
    images_BHWC = jnp.where(is_image_BHW[..., None], images_BHWC, 0.0)
    grid_B2 = -(-size_B2 // config.patch_size)
    mask_BIJ = vision.image_mask(grid_B2, _patches(config, images_BHWC))
    return images_BHWC, grid_B2, mask_BIJ.reshape(len(mask_BIJ), -1)


def _patches(config: ViltConfig, images_BHWC: jax.Array) -> tuple[int, int]:
    """Returns rows and columns of patches of the images' canvas."""
    _, height, width, _ = images_BHWC.shape
    return height // config.patch_size, width // config.patch_size


def _block(config: ViltConfig) -> vision.PreNormBlock:
    return vision.PreNormBlock(config, config.qkv_bias)
