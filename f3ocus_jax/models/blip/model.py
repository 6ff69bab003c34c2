"""How do an image encoder and a text encoder that looks at the image make one model?

BLIP and ALBEF are such models. The image goes through a vision transformer. The question goes
through text blocks, which BLIP has none of, and then through fusion blocks, which look at the
encoded image. The answer head reads the question's first token. A decoder, which the head does
without, writes answers. Any one of the three stacks can be the selectable one.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import base, head as head_lib
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip.config import GroundedConfig
from f3ocus_jax.models.blocks import adapters, bert, bert_decoder, layers, vision
from f3ocus_jax.models.generation import generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.sizes import GENERATE
from f3ocus_jax.models.stacks import Arrangement
from f3ocus_jax.types import Array, Batch, Params, Rows


@struct.dataclass
class Context:
    """What the blocks of the selectable stack, and the parts above it, need beside their input.

    Attributes:
      bias_B11T: hides the question's padding from attention.
      image_BSD: the encoded image; None in the image encoder.
      question_BTD: the encoded question; None where it is the input itself.
      answers: (ids_BA, mask_BA) of the answers that are taught; None if none are.
    """

    bias_B11T: Array
    image_BSD: Array
    question_BTD: Array
    answers: tuple[Array, Array] | None = None


def arrangement(config: GroundedConfig) -> Arrangement:
    """Returns which part runs where."""
    encode_image = ("vision_embeddings", "vision_blocks", "vision_norm")
    encode_text = ("text_embeddings", "text_blocks") if config.text_layers else ("text_embeddings",)
    if config.stage == "vision":
        below = ("vision_embeddings", *encode_text)
        return Arrangement(below, "vision_blocks", ("vision_norm", "fusion_blocks", "decoder"))
    if config.stage == "text":
        below = (*encode_image, "text_embeddings")
        return Arrangement(below, "text_blocks", ("fusion_blocks", "decoder"))
    return Arrangement((*encode_image, *encode_text), "fusion_blocks", ("decoder",))


def make_model(config: GroundedConfig) -> Model:
    """Makes the model.

    Args:
      config: its sizes.

    Returns:
      The model. `embed` takes uint8 images, which it normalises as the config says, or float ones
      that are so already; it raises ValueError for inputs of another shape.
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


def _embed(config: GroundedConfig, params: Params, batch: Batch) -> tuple[jax.Array, Context]:
    """Runs what is below the selectable stack."""
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, config.NAME)
    stage, text = config.stage, config.text_config
    images_BHWC = vision.prepare_images(config, batch, config.NAME)
    bias_B11T = layers.padding_bias(jnp.asarray(batch.attention_mask_BT))
    image_BSD = vision.embed(config.vision_config, params, images_BHWC)
    text_BTD = bert.embed(text, params["text_embeddings"], jnp.asarray(batch.input_ids_BT))
    if stage != "vision":
        image_BSD = vision.encode(config.vision_config, params, image_BSD)
    if stage != "text" and config.text_layers:
        text_BTD = bert.run(text, params["text_blocks"], text_BTD, bias_B11T)
    if stage == "vision":
        return image_BSD, Context(bias_B11T, None, text_BTD, generator_lib.target_answers(batch))
    return text_BTD, Context(bias_B11T, image_BSD, None, generator_lib.target_answers(batch))


def _apply_block(
    config: GroundedConfig, row: Rows, adapter: Rows, hidden: jax.Array, context: Context
) -> jax.Array:
    adapt = functools.partial(adapters.apply, adapter)
    if config.stage == "vision":
        return vision.apply_block(config.vision_config, row, hidden, adapt)
    text, image_BSD = config.text_config, context.image_BSD if config.stage == "fusion" else None
    return bert.apply_block(text, row, hidden, context.bias_B11T, image_BSD, adapt=adapt)


def _extend(config: GroundedConfig, context: Context, tokens: int) -> Context:
    if config.stage == "vision":
        return context
    bias_B11T = layers.prepend_visible(context.bias_B11T, tokens)
    return dataclasses.replace(context, bias_B11T=bias_B11T)


def _read(
    config: GroundedConfig, params: Params, head_params: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    encoded_BTD = encode_question(config, params, hidden, context)
    if config.answering == GENERATE:
        return _teach(config, params["decoder"], encoded_BTD, context)
    return head_lib.read(head_params, encoded_BTD[:, 0])


def _teach(
    config: GroundedConfig, params: Params, question_BTD: jax.Array, context: Context
) -> jax.Array:
    """Returns logits_BAV of the tokens of the taught answers."""
    ids_BA, mask_BA = generator_lib.require_answers(context.answers)
    inputs_BA = generator_lib.shift_right(ids_BA, config.text_config.bos_token_id)
    logits_BAV, _ = bert_decoder.prefill(
        config.decoder_config, params, inputs_BA, question_BTD, context.bias_B11T
    )
    return generator_lib.mask_logits(logits_BAV, mask_BA)


def _make_generator(config: GroundedConfig, model: Model) -> Generator:
    text = config.text_config

    def prefill(
        params: Params, batch: Batch, max_new_tokens: int
    ) -> tuple[jax.Array, generator_lib.GenerationState]:
        hidden, context = base.encode(model, params, batch)
        states_BTD = encode_question(config, params["readout"], hidden, context)
        start_BT = jnp.full((len(states_BTD), 1), text.bos_token_id, jnp.int32)
        logits_BTV, cache_L = bert_decoder.prefill(
            config.decoder_config,
            params["readout"]["decoder"],
            start_BT,
            states_BTD,
            context.bias_B11T,
        )
        cache_length_B = jnp.ones(len(states_BTD), jnp.int32)
        encoder_B = (states_BTD, context.bias_B11T)
        return logits_BTV[:, 0], generator_lib.GenerationState(
            cache_L.extend(max_new_tokens), encoder_B, cache_length_B
        )

    def decode_step(
        params: Params, state: generator_lib.GenerationState, ids_BT: jax.Array
    ) -> tuple[jax.Array, generator_lib.GenerationState]:
        states_BTD, bias_B11T = state.encoder_B
        logits_BTV, cache_L = bert_decoder.decode_step(
            config.decoder_config,
            params["readout"]["decoder"],
            ids_BT,
            states_BTD,
            bias_B11T,
            state.cache_L,
            state.cache_length_B,
        )
        cache_length_B = state.cache_length_B + ids_BT.shape[1]
        return logits_BTV, generator_lib.GenerationState(cache_L, state.encoder_B, cache_length_B)

    return Generator(
        prefill, decode_step, end_token=text.sep_token_id, padding_token=text.pad_token_id
    )


def encode_question(
    config: GroundedConfig, params: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    """Runs what is above the selectable stack, but for head and decoder.

    Args:
      config: sizes.
      params: of the readout.
      hidden: output of the selectable stack.
      context: as `embed` made it.

    Returns:
      The question's hidden_BTD after the last fusion block.
    """
    if config.stage == "fusion":
        return hidden
    if config.stage == "vision":
        image_BSD = vision.final_norm(config.vision_config, params, hidden)
        hidden = context.question_BTD
    else:
        image_BSD = context.image_BSD
    return bert.run(
        config.text_config, params["fusion_blocks"], hidden, context.bias_B11T, image_BSD
    )


def init(config: GroundedConfig, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      config: sizes.
      key: typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    of_vision, of_words, of_text, of_fusion, of_decoder, of_adapters, of_head = jax.random.split(
        key, 7
    )
    text, (depth, width) = config.text_config, config.rows
    image_width = config.vision_config.hidden_size
    parts = {
        **vision.init(config.vision_config, of_vision),
        "text_embeddings": bert.init_embeddings(text, of_words),
        "fusion_blocks": bert.init_blocks(text, of_fusion, config.fusion_layers, image_width),
        "decoder": bert_decoder.init(config.decoder_config, of_decoder, text.hidden_size),
        "adapters": adapters.init_stack(
            of_adapters, layers=depth, width=width, bottleneck=config.adapter_size
        ),
        "head": head_lib.init(of_head, num_answers=config.num_answers, width=text.hidden_size),
    }
    if config.answering == GENERATE:
        parts["head"] = {}
    if config.text_layers:
        parts["text_blocks"] = bert.init_blocks(text, of_text, config.text_layers, None)
    return arrangement(config).arrange(parts)
