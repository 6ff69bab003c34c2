"""What is LLaVA-1.5 (Liu et al., 2023)? A language model that reads an image's patches as words.

The image goes through CLIP's encoder and a projector of two maps; its tokens take the place of the
`<image>` token among those of the question. The language model's blocks read them all, and the
answer head reads the question's last token. The map to scores of the next word, which the head does
without, writes answers. The language model's blocks can be selectable, or the image encoder's.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import base, head as head_lib, stacks
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import adapters, bert, clip, layers, llama, modules, vision
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.generation import causal_generator, generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.llava.config import LlavaConfig
from f3ocus_jax.models.sizes import GENERATE
from f3ocus_jax.models.stacks import Arrangement
from f3ocus_jax.types import Array, Batch, Params, Rows


class Projector(nn.Module):
    """Image states to tokens of the language model."""

    config: LlavaConfig

    @nn.compact
    def __call__(self, hidden_BPD: jax.Array) -> jax.Array:
        """Returns the tokens of P patches."""
        config, width = self.config, self.config.text_config.hidden_size
        use_bias = config.multimodal_projector_bias
        hidden_BPD = layers.linear(width, "first", hidden_BPD, use_bias=use_bias)
        hidden_BPD = ACTIVATIONS[config.projector_hidden_act](hidden_BPD)
        return layers.linear(width, "second", hidden_BPD, use_bias=use_bias)


@struct.dataclass
class Context:
    """What the blocks of the selectable stack, and the parts above it, need beside their input.

    Attributes:
      attention_inputs: of the language model's tokens.
      image_place_B: int32, where the image begins.
      last_B: int32, where the question's last token is once the image is among its tokens.
      text_BTD: the question's tokens without the image, and the answer's behind them; None in the
        language model.
      answers: (ids_BA, mask_BA) of the answers that are taught; None if none are.
    """

    attention_inputs: llama.AttentionInputs
    image_place_B: Array
    last_B: Array
    text_BTD: Array
    answers: tuple[Array, Array] | None


def arrangement(config: LlavaConfig) -> Arrangement:
    """Returns which part runs where; "vision_unused" and "scores" never run for an answer head."""
    see = ("vision_embeddings",)
    read = ("projector", "language_blocks")
    spare = ("vision_unused", "language_norm", "scores")
    if config.selectable == "vision":
        return Arrangement((*see, "words"), "vision_blocks", (*read, *spare))
    below = (*see, "vision_blocks", "projector", "words")
    return Arrangement(below, "language_blocks", spare)


def make_model(config: LlavaConfig) -> Model:
    """Makes a LLaVA.

    Args:
      config: its sizes.

    Returns:
      The model. `embed` takes uint8 images, which it normalises as the config says, or float ones
      that are so already; it raises ValueError for inputs of another shape. A question without an
      `<image>` token loses its first token to the image.
    """
    return base.of_config(
        config,
        init=init,
        embed=_embed,
        block=_apply_block,
        readout=_read,
        extend=_extend,
        make_generator=_make_generator,
    )


def _embed(config: LlavaConfig, params: Params, batch: Batch) -> tuple[jax.Array, Context]:
    """Runs what is below the selectable stack."""
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, "LLaVA")
    images_BHWC = vision.prepare_images(config, batch, "LLaVA")
    image_BPD = clip.embed(config.vision_config, params["vision_embeddings"], images_BHWC)
    text_BTD = _words(params["words"], batch)
    context = _context(config, batch, text_BTD)
    if config.selectable == "vision":
        return image_BPD, context
    image_BPD = _see(config, params["vision_blocks"], image_BPD)
    hidden_BTD = _read_image(config, params["projector"], image_BPD, text_BTD, context)
    return hidden_BTD, dataclasses.replace(context, text_BTD=None)


def _apply_block(
    config: LlavaConfig, row: Rows, adapter: Rows, hidden: jax.Array, context: Context
) -> jax.Array:
    adapt = functools.partial(adapters.apply_keeping_dtype, adapter)
    if config.selectable == "vision":
        return vision.apply_block(config.vision_config, row, hidden, adapt)
    return llama.apply_block(config.text_config, row, hidden, context.attention_inputs, adapt)


def _extend(config: LlavaConfig, context: Context, tokens: int) -> Context:
    if config.selectable == "vision":
        return context
    length = context.attention_inputs.bias_B1TS.shape[-1] + tokens
    attention_inputs = llama.make_attention_inputs(
        config.text_config, jnp.arange(length)[None], length
    )
    return dataclasses.replace(context, attention_inputs=attention_inputs)


def _read(
    config: LlavaConfig, params: Params, head_params: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    hidden_BTD = encode(config, params, hidden, context)
    if config.answering == GENERATE:
        ids_BA, mask_BA = generator_lib.require_answers(context.answers)
        language, length = llama.make_language_model(config.text_config), ids_BA.shape[1]
        logits_BAV = causal_generator.answer_logits(
            language, params, {}, hidden_BTD, context.last_B, length
        )
        return generator_lib.mask_logits(logits_BAV, mask_BA)
    last_BD = jnp.take_along_axis(hidden_BTD, context.last_B[:, None, None], axis=1)[:, 0]
    return head_lib.read(head_params, last_BD.astype(jnp.float32))


def _make_generator(config: LlavaConfig, model: Model) -> Generator:
    def embed_question(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        if config.selectable == "language":
            hidden_BTD, context = model.embed(params["embeddings"], batch)
            return hidden_BTD, context.last_B
        image_BPD, context = base.encode(model, params, batch)
        projector, text_BTD = params["readout"]["projector"], context.text_BTD
        return _read_image(config, projector, image_BPD, text_BTD, context), context.last_B

    text = config.text_config
    return causal_generator.make_causal_generator(
        llama.make_language_model(text),
        embed_question,
        is_selectable=config.selectable == "language",
        end_token=text.eos_token_id,
        padding_token=text.pad_token_id,
    )


def encode(config: LlavaConfig, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs what is above the selectable stack, but for head and scores.

    Args:
      config: sizes.
      params: of the readout.
      hidden: output of the selectable stack.
      context: as `embed` made it.

    Returns:
      The normed hidden_BTD of the language model, the image among its tokens.
    """
    if config.selectable == "vision":
        hidden = _read_image(config, params["projector"], hidden, context.text_BTD, context)
        hidden = stacks.run(
            lambda row, hidden: llama.apply_block(
                config.text_config, row, hidden, context.attention_inputs
            ),
            params["language_blocks"],
            hidden,
        )
    return llama.make_language_model(config.text_config).norm(params["language_norm"], hidden)


def insert_image(text_BTD: jax.Array, image_BPD: jax.Array, place_B: jax.Array) -> jax.Array:
    """Puts an image's tokens in the place of one token of the text.

    Args:
      text_BTD: the text's tokens.
      image_BPD: the image's, P of them.
      place_B: int32, which token of the text they replace.

    Returns:
      T - 1 + P tokens, [B, T - 1 + P, D].
    """
    tokens, patches = text_BTD.shape[1], image_BPD.shape[1]
    behind_BS = jnp.arange(tokens - 1 + patches)[None] - place_B[:, None]
    source_BS = jnp.where(
        behind_BS < 0,
        behind_BS + place_B[:, None],
        jnp.where(
            behind_BS < patches, tokens + behind_BS, behind_BS + place_B[:, None] + 1 - patches
        ),
    )
    both_BSD = jnp.concatenate([text_BTD, image_BPD], axis=1)
    return jnp.take_along_axis(both_BSD, source_BS[..., None], axis=1)


def init(config: LlavaConfig, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      config: sizes.
      key: typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    of_vision, of_projector, of_language, of_adapters, of_head = jax.random.split(key, 5)
    text, (depth, width) = config.text_config, config.rows
    hidden_BPD = jnp.zeros((1, 1, config.vision_config.hidden_size))
    parts = {
        **_init_vision(config, of_vision),
        "projector": modules.init(Projector(config), of_projector, hidden_BPD),
        **llama.init(text, of_language),
        "adapters": adapters.init_stack(
            of_adapters, layers=depth, width=width, bottleneck=config.adapter_size
        ),
        "head": head_lib.init(of_head, num_answers=config.num_answers, width=text.hidden_size),
    }
    if config.answering == GENERATE:
        parts["head"] = {}
    return arrangement(config).arrange(parts)


def _init_vision(config: LlavaConfig, key: jax.Array) -> Params:
    of_embeddings, of_blocks, of_norm, of_unused = jax.random.split(key, 4)
    image, used = config.vision_config, config.vision_layers
    draw_block = functools.partial(clip.init_block, image)
    hidden_BTD = jnp.zeros((1, 1, image.hidden_size))
    unused = modules.init(vision.FinalNorm(image.layer_norm_eps), of_norm, hidden_BTD)
    if used < image.num_hidden_layers:
        unused["blocks"] = stacks.draw(draw_block, of_unused, image.num_hidden_layers - used)
    return {
        "vision_embeddings": clip.init_embeddings(image, of_embeddings),
        "vision_blocks": stacks.draw(draw_block, of_blocks, used),
        "vision_unused": unused,
    }


def _words(words: Params, batch: Batch) -> jax.Array:
    """Returns the question's tokens, and those of a taught answer behind them."""
    text_BTD = jnp.take(words["word"], jnp.asarray(batch.input_ids_BT), axis=0)
    answers = generator_lib.target_answers(batch)
    if answers is None:
        return text_BTD
    mask_BT = jnp.asarray(batch.attention_mask_BT)
    return causal_generator.append_answers(words, text_BTD, mask_BT, answers[0])


def _context(config: LlavaConfig, batch: Batch, text_BTD: jax.Array) -> Context:
    is_image_BT = jnp.asarray(batch.input_ids_BT) == config.image_token_index
    added = config.num_patches - 1
    length = text_BTD.shape[1] + added
    last_B = jnp.sum(jnp.asarray(batch.attention_mask_BT), axis=1, dtype=jnp.int32) - 1
    return Context(
        attention_inputs=llama.make_attention_inputs(
            config.text_config, jnp.arange(length)[None], length
        ),
        image_place_B=jnp.argmax(is_image_BT, axis=1).astype(jnp.int32),
        last_B=jnp.maximum(last_B, 0) + added,  # an example of padding has no last token
        text_BTD=text_BTD,
        answers=generator_lib.target_answers(batch),
    )


def _see(config: LlavaConfig, rows: Rows, hidden: jax.Array) -> jax.Array:
    """Runs the used blocks of the image encoder, where they are not selectable."""
    return stacks.run(
        lambda row, hidden: vision.apply_block(config.vision_config, row, hidden), rows, hidden
    )


def _read_image(
    config: LlavaConfig, params: Params, image: jax.Array, text: jax.Array, context: Context
) -> jax.Array:
    """Puts the encoded image, but for its class token, among the text's tokens."""
    projected = modules.apply(Projector(config), params, image[:, 1:])
    return insert_image(text, projected, context.image_place_B)
