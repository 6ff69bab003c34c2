"""BLIP and ALBEF: an image encoder, and a text encoder whose last blocks attend to the image.

The image goes through a vision transformer. The question goes through text blocks, which BLIP
lacks, and then through fusion blocks, which attend to the encoded image. The answer head reads the
question's first token. A decoder, which a model with an answer head does not use, writes answers.
Any one of the three stacks can be selectable.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from f3ocus_jax.models import base, head as head_lib
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip.config import FusionConfig
from f3ocus_jax.models.blocks import adapters, bert, bert_decoder, layers, vision
from f3ocus_jax.models.context import Context
from f3ocus_jax.models.generation import generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params, Rows

Spec = ModelSpec[FusionConfig]


def layout(config: FusionConfig) -> ParameterLayout:
    """Returns the layout of the parameters."""
    image = ("vision_embeddings", "vision_blocks", "vision_norm")
    text = ("text_embeddings", "text_blocks") if config.text_layers else ("text_embeddings",)
    return ParameterLayout((image, text), ("fusion_blocks", "decoder"))


def _embed(spec: Spec, params: Params, batch: Batch) -> tuple[jax.Array, Context]:
    """Runs the submodules before the selectable stack; raises ValueError for other shapes."""
    config, stack, text = spec.config, spec.stack.submodule, spec.config.text_config
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, config.NAME)
    images_BHWC = vision.prepare_images(spec, batch)
    bias_B11T = layers.padding_bias(jnp.asarray(batch.attention_mask_BT))
    image_BSD = vision.embed(config.vision_config, params, images_BHWC)
    text_BTD = bert.embed(text, params["text_embeddings"], jnp.asarray(batch.input_ids_BT))
    if stack != "vision_blocks":
        image_BSD = vision.encode(config.vision_config, params, image_BSD)
    if stack != "text_blocks" and config.text_layers:
        text_BTD = bert.run(text, params["text_blocks"], text_BTD, bias_B11T)
    context = Context(bias_B11T, answers=generator_lib.target_answers(batch))
    if stack == "vision_blocks":
        return image_BSD, dataclasses.replace(context, text_BTD=text_BTD)
    return text_BTD, dataclasses.replace(context, image_BSD=image_BSD)


def _apply_block(
    spec: Spec, row: Rows, adapter: Rows, hidden: jax.Array, context: Context
) -> jax.Array:
    config, stack = spec.config, spec.stack.submodule
    adapt = functools.partial(adapters.apply, adapter)
    if stack == "vision_blocks":
        return vision.apply_block(config.vision_config, row, hidden, adapt)
    image_BSD = context.image_BSD if stack == "fusion_blocks" else None
    bias_B11T = context.attention_inputs
    return bert.apply_block(config.text_config, row, hidden, bias_B11T, image_BSD, adapt=adapt)


def _extend(spec: Spec, context: Context, tokens: int) -> Context:
    if spec.stack.submodule == "vision_blocks":
        return context
    bias_B11T = layers.prepend_visible(context.attention_inputs, tokens)
    return dataclasses.replace(context, attention_inputs=bias_B11T)


def _read(
    spec: Spec, params: Params, head: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    encoded_BTD = encode_question(spec, params, hidden, context)
    if spec.generates:
        return _answer_logits(spec.config, params["decoder"], encoded_BTD, context)
    return head_lib.read(head, encoded_BTD[:, 0])


def _answer_logits(
    config: FusionConfig, decoder: Params, question_BTD: jax.Array, context: Context
) -> jax.Array:
    """Returns logits_BAV of the tokens of the target answers."""
    ids_BA, mask_BA = generator_lib.require_answers(context.answers)
    inputs_BA = generator_lib.shift_right(ids_BA, config.text_config.bos_token_id)
    logits_BAV, _ = bert_decoder.prefill(
        config.decoder_config, decoder, inputs_BA, question_BTD, context.attention_inputs
    )
    return generator_lib.mask_logits(logits_BAV, mask_BA)


def _make_generator(spec: Spec, model: Model) -> Generator:
    config, text = spec.config, spec.config.text_config

    def prefill(
        params: Params, batch: Batch, max_new_tokens: int
    ) -> tuple[jax.Array, generator_lib.GenerationState]:
        hidden, context = base.encode(model, params, batch)
        states_BTD = encode_question(spec, params["readout"], hidden, context)
        start_BT = jnp.full((len(states_BTD), 1), text.bos_token_id, jnp.int32)
        logits_BTV, cache_L = bert_decoder.prefill(
            config.decoder_config,
            params["readout"]["decoder"],
            start_BT,
            states_BTD,
            context.attention_inputs,
        )
        cache_length_B = jnp.ones(len(states_BTD), jnp.int32)
        encoder_B = (states_BTD, context.attention_inputs)
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


def encode_question(spec: Spec, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs the submodules after the selectable stack, without head and decoder.

    Args:
      spec: Specification of the model.
      params: Parameters of the readout.
      hidden: Output of the selectable stack.
      context: Context of `embed`.

    Returns:
      hidden_BTD of the question after the last fusion block.
    """
    stack, image_BSD = spec.stack.submodule, context.image_BSD
    if stack == "fusion_blocks":
        return hidden
    if stack == "vision_blocks":
        image_BSD = vision.final_norm(spec.config.vision_config, params, hidden)
        hidden = context.text_BTD
    bias_B11T = context.attention_inputs
    return bert.run(spec.config.text_config, params["fusion_blocks"], hidden, bias_B11T, image_BSD)


def init(spec: Spec, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      spec: Specification of the model.
      key: Typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    keys = jax.random.split(key, 7)
    config, text = spec.config, spec.config.text_config
    vision_key, words_key, text_key, fusion_key, decoder_key, adapters_key, head_key = keys
    image_width = config.vision_config.hidden_size
    submodules = {
        **vision.init(config.vision_config, vision_key),
        "text_embeddings": bert.init_embeddings(text, words_key),
        "fusion_blocks": bert.init_blocks(text, fusion_key, config.fusion_layers, image_width),
        "decoder": bert_decoder.init(config.decoder_config, decoder_key, text.hidden_size),
        **base.init_trainable(spec, adapters_key, head_key, head_width=text.hidden_size),
    }
    if config.text_layers:
        submodules["text_blocks"] = bert.init_blocks(text, text_key, config.text_layers, None)
    return layout(config).to_params(submodules, spec.stack.submodule)


make_model = base.model_factory(
    init=init,
    embed=_embed,
    block=_apply_block,
    readout=_read,
    extend=_extend,
    make_generator=_make_generator,
)
"""Maps a specification to a BLIP or an ALBEF.

`embed` takes uint8 images, which it normalises, or float ones that are normalised already."""
