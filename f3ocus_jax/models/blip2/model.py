"""BLIP-2 (Li et al., 2023): a Q-Former makes tokens of an image for a language model.

The image goes through a vision transformer. The queries of the Q-Former attend to its states, and a
linear map makes tokens of them, which stand in front of the question's. A language model reads all:
OPT or Llama from left to right, or the encoder of T5, whose decoder then writes. Blocks of the
image encoder, of the Q-Former or of the language model can be selectable.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import base, head as head_lib, stacks
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip2 import qformer
from f3ocus_jax.models.blip2.config import Blip2Config
from f3ocus_jax.models.blip2.language import (
    Reader,
    causal_language,
    make_reader,
    make_t5_generator,
)
from f3ocus_jax.models.blocks import adapters, bert, modules, vision
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.context import Context
from f3ocus_jax.models.generation import causal_generator, generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params, Rows

Spec = ModelSpec[Blip2Config]


def layout(config: Blip2Config) -> ParameterLayout:
    """Returns the layout of the parameters."""
    image = ("vision_embeddings", "vision_blocks", "vision_norm")
    queries = ("queries", "qformer_blocks", "projection")
    after = make_reader(config.text_config).after
    return ParameterLayout((("words",), (*image, *queries)), ("language_blocks", *after))


def _embed(spec: Spec, params: Params, batch: Batch) -> tuple[jax.Array, Context]:
    """Runs the submodules before the selectable stack; raises ValueError for other shapes."""
    config = spec.config
    reader = make_reader(config.text_config)
    image_BSD = vision.embed(config.vision_config, params, _images(spec, params, batch))
    context = _context(config, reader, params["words"], batch)
    if spec.setup.selectable == "vision":
        return image_BSD, context
    image_BSD = vision.encode(config.vision_config, params, image_BSD)
    queries_BQD = qformer.start(config.qformer_config, params["queries"], len(image_BSD))
    if spec.setup.selectable == "qformer":
        return queries_BQD, dataclasses.replace(context, image_BSD=image_BSD)
    queries_BQD = _run_qformer(config, params, queries_BQD, image_BSD)
    hidden_BTD = _language_input(reader, params["words"], queries_BQD, context)
    return hidden_BTD, dataclasses.replace(context, text_BTD=None)


def _images(spec: Spec, params: Params, batch: Batch) -> jax.Array:
    longest = spec.config.max_position_embeddings
    bert.check_length(batch.input_ids_BT, longest, spec.config.NAME)
    images_BHWC = vision.prepare_images(spec, batch)
    # Float32 pixels would widen all states of a bfloat16 image encoder.
    return images_BHWC.astype(params["vision_embeddings"]["patch"]["kernel"].dtype)


def _apply_block(
    spec: Spec, row: Rows, adapter: Rows, hidden: jax.Array, context: Context
) -> jax.Array:
    config = spec.config
    adapt = functools.partial(adapters.apply_keeping_dtype, adapter)
    if spec.setup.selectable == "vision":
        return vision.apply_block(config.vision_config, row, hidden, adapt)
    if spec.setup.selectable == "qformer":
        image_BSD = context.image_BSD
        return qformer.apply_group(config.qformer_config, row, hidden, image_BSD, adapt)
    return make_reader(config.text_config).block(row, hidden, context.attention_inputs, adapt)


def _extend(spec: Spec, context: Context, tokens: int) -> Context:
    if spec.setup.selectable != "language":
        return context
    mask_BT = jnp.pad(context.mask_BT, ((0, 0), (tokens, 0)), constant_values=1)
    attention_inputs = make_reader(spec.config.text_config).make_attention_inputs(
        context.words, mask_BT, mask_BT.shape[1]
    )
    return dataclasses.replace(context, attention_inputs=attention_inputs)


def _read(
    spec: Spec, params: Params, head: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    reader = make_reader(spec.config.text_config)
    hidden_BTD = encode(spec, params, hidden, context)
    if spec.generates:
        ids_BA, mask_BA = generator_lib.require_answers(context.answers)
        logits_BAV = reader.answer_logits(
            params, context.words, hidden_BTD, context.mask_BT, ids_BA
        )
        return generator_lib.mask_logits(logits_BAV, mask_BA)
    state_BD = reader.pool(params, context.words, hidden_BTD, context.mask_BT)
    return head_lib.read(head, state_BD.astype(jnp.float32))


def _make_generator(spec: Spec, model: Model) -> Generator:
    config = spec.config
    if isinstance(config.text_config, T5Config):

        def encoded(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
            hidden, context = base.encode(model, params, batch)
            return encode(spec, params["readout"], hidden, context), context.mask_BT

        return make_t5_generator(config.text_config, encoded)

    def embed_question(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        if spec.setup.selectable == "language":
            hidden_BTD, context = model.embed(params["embeddings"], batch)
        else:
            hidden_BTD, context = base.encode(model, params, batch)
            hidden_BTD = enter_language(spec, params["readout"], hidden_BTD, context)
        return hidden_BTD, jnp.sum(context.mask_BT, axis=1, dtype=jnp.int32) - 1

    return causal_generator.make_causal_generator(
        causal_language(config.text_config),
        embed_question,
        is_selectable=spec.setup.selectable == "language",
        end_token=config.text_config.eos_token_id,
        padding_token=config.text_config.pad_token_id,
    )


def encode(spec: Spec, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs the submodules after the selectable stack, up to the language model's last norm.

    Args:
      spec: Specification of the model.
      params: Parameters of the readout.
      hidden: Output of the selectable stack.
      context: Context of `embed`.

    Returns:
      Normed hidden_BTD of the language model (T5's encoder); the image's tokens come first.
    """
    reader = make_reader(spec.config.text_config)
    if spec.setup.selectable != "language":
        hidden = stacks.run(
            lambda row, hidden: reader.block(row, hidden, context.attention_inputs),
            params["language_blocks"],
            enter_language(spec, params, hidden, context),
        )
    return reader.norm(params["language_norm"], hidden)


def enter_language(spec: Spec, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs the submodules between a selectable image encoder or Q-Former and the language model.

    Args:
      spec: Specification of the model; its selectable stack is not the language model's.
      params: Parameters of the readout.
      hidden: Output of the selectable stack.
      context: Context of `embed`.

    Returns:
      hidden_BTD, input of the language model's first block.
    """
    config = spec.config
    if spec.setup.selectable == "vision":
        image_BSD = vision.final_norm(config.vision_config, params, hidden)
        hidden = qformer.start(config.qformer_config, params["queries"], len(image_BSD))
        hidden = _run_qformer(config, params, hidden, image_BSD)
    else:
        hidden = _project(config, params, hidden)
    return _language_input(make_reader(config.text_config), context.words, hidden, context)


def init(spec: Spec, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      spec: Specification of the model.
      key: Typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    keys = jax.random.split(key, 6)
    vision_key, qformer_key, projection_key, language_key, adapters_key, head_key = keys
    config, text = spec.config, spec.config.text_config
    image_width = config.vision_config.hidden_size
    hidden_BQD = jnp.zeros((1, 1, config.qformer_config.hidden_size))
    submodules = {
        **vision.init(config.vision_config, vision_key),
        **qformer.init(config.qformer_config, qformer_key, config.num_query_tokens, image_width),
        "projection": modules.init(nn.Dense(text.hidden_size), projection_key, hidden_BQD),
        **make_reader(text).init(language_key),
        **base.init_trainable(spec, adapters_key, head_key, head_width=text.hidden_size),
    }
    return layout(config).to_params(submodules, spec.stack.submodule)


def _context(config: Blip2Config, reader: Reader, words: Params, batch: Batch) -> Context:
    """Returns the context of a selectable image encoder; other stacks replace some of it."""
    mask_BT = jnp.pad(
        jnp.asarray(batch.attention_mask_BT),
        ((0, 0), (config.num_query_tokens, 0)),
        constant_values=1,
    )
    text_BTD = jnp.take(words["word"], jnp.asarray(batch.input_ids_BT), axis=0)
    answers = generator_lib.target_answers(batch)
    if answers is not None and reader.appends_answers:
        question_mask_BT = jnp.asarray(batch.attention_mask_BT)
        text_BTD = causal_generator.append_answers(words, text_BTD, question_mask_BT, answers[0])
    attention_inputs = reader.make_attention_inputs(
        words, mask_BT, config.num_query_tokens + text_BTD.shape[1]
    )
    return Context(
        attention_inputs, mask_BT=mask_BT, text_BTD=text_BTD, words=words, answers=answers
    )


def _run_qformer(
    config: Blip2Config, params: Params, queries_BQD: jax.Array, image_BSD: jax.Array
) -> jax.Array:
    """Runs a Q-Former that is not selectable, and makes tokens of its output."""
    rows = params["qformer_blocks"]
    queries_BQD = qformer.run(config.qformer_config, rows, queries_BQD, image_BSD)
    return _project(config, params, queries_BQD)


def _project(config: Blip2Config, params: Params, queries_BQD: jax.Array) -> jax.Array:
    return modules.apply(
        nn.Dense(config.text_config.hidden_size), params["projection"], queries_BQD
    )


def _language_input(
    reader: Reader, words: Params, image_BQD: jax.Array, context: Context
) -> jax.Array:
    """Joins the image's tokens and the question's to the input of the first language block."""
    both_BTD = jnp.concatenate([image_BQD.astype(context.text_BTD.dtype), context.text_BTD], axis=1)
    return reader.add_positions(words, both_BTD)


make_model = base.model_factory(
    init=init,
    embed=_embed,
    block=_apply_block,
    readout=_read,
    extend=_extend,
    make_generator=_make_generator,
)
"""Maps a specification to a BLIP-2.

`embed` takes uint8 images, which it normalises, or float ones that are normalised already."""
