"""What is BLIP-2 (Li et al., 2023)? A Q-Former tells a language model what an image shows.

The image goes through a vision transformer. The Q-Former's queries gather what matters of it, and a
linear map makes tokens of them, which stand in front of the question's. A language model reads all:
OPT or Llama from left to right, or T5, whose decoder then writes. Blocks of the image encoder, of
the Q-Former or of the language model can be selectable.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import base, head as head_lib, stacks
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip2 import qformer
from f3ocus_jax.models.blip2.config import Blip2Config
from f3ocus_jax.models.blip2.language import Reader, causal_language, make_t5_generator, reader
from f3ocus_jax.models.blocks import adapters, bert, modules, vision
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.generation import causal_generator, generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.sizes import GENERATE
from f3ocus_jax.models.stacks import Arrangement
from f3ocus_jax.types import Array, Batch, Params, Rows


@struct.dataclass
class Context:
    """What the blocks of the selectable stack, and the parts above it, need beside their input.

    Attributes:
      mask_BT: 1 for the image's and the question's tokens, 0 for padding.
      attention_inputs: of the language model's blocks.
      words: the language model's word embeddings and what goes with them.
      image_BSD: the encoded image; None but in the Q-Former.
      text_BTD: the question's tokens without the image, and what is read behind them; None in the
        language model.
      answers: (ids_BA, mask_BA) of the answers that are taught; None if none are.
    """

    mask_BT: Array
    attention_inputs: Array
    words: Params
    image_BSD: Array
    text_BTD: Array
    answers: tuple[Array, Array] | None


def arrangement(config: Blip2Config) -> Arrangement:
    """Returns which part runs where; "scores" never runs for an answer head."""
    see = ("vision_blocks", "vision_norm")
    gather = ("queries", "qformer_blocks", "projection")
    first, last = ("vision_embeddings", "words"), reader(config.text_config).above
    if config.selectable == "vision":
        return Arrangement(
            first, "vision_blocks", ("vision_norm", *gather, "language_blocks", *last)
        )
    if config.selectable == "qformer":
        below = (*first, *see, "queries")
        return Arrangement(below, "qformer_blocks", ("projection", "language_blocks", *last))
    return Arrangement((*first, *see, *gather), "language_blocks", last)


def make_model(config: Blip2Config) -> Model:
    """Makes a BLIP-2.

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


def _embed(config: Blip2Config, params: Params, batch: Batch) -> tuple[jax.Array, Context]:
    """Runs what is below the selectable stack."""
    reads = reader(config.text_config)
    image_BSD = vision.embed(config.vision_config, params, _images(config, params, batch))
    context = _context(config, reads, params["words"], batch)
    if config.selectable == "vision":
        return image_BSD, context
    image_BSD = vision.encode(config.vision_config, params, image_BSD)
    queries_BQD = qformer.start(config.qformer_config, params["queries"], len(image_BSD))
    if config.selectable == "qformer":
        return queries_BQD, dataclasses.replace(context, image_BSD=image_BSD)
    queries_BQD = _gather(config, params, queries_BQD, image_BSD)
    hidden_BTD = _join(reads, params["words"], queries_BQD, context)
    return hidden_BTD, dataclasses.replace(context, text_BTD=None)


def _images(config: Blip2Config, params: Params, batch: Batch) -> jax.Array:
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, "BLIP-2")
    images_BHWC = vision.prepare_images(config, batch, "BLIP-2")
    # Float32 pixels would widen all states of a bfloat16 image encoder.
    return images_BHWC.astype(params["vision_embeddings"]["patch"]["kernel"].dtype)


def _apply_block(
    config: Blip2Config, row: Rows, adapter: Rows, hidden: jax.Array, context: Context
) -> jax.Array:
    adapt = functools.partial(adapters.apply_keeping_dtype, adapter)
    if config.selectable == "vision":
        return vision.apply_block(config.vision_config, row, hidden, adapt)
    if config.selectable == "qformer":
        image_BSD = context.image_BSD
        return qformer.apply_group(config.qformer_config, row, hidden, image_BSD, adapt)
    return reader(config.text_config).block(row, hidden, context.attention_inputs, adapt)


def _extend(config: Blip2Config, context: Context, tokens: int) -> Context:
    if config.selectable != "language":
        return context
    mask_BT = jnp.pad(context.mask_BT, ((0, 0), (tokens, 0)), constant_values=1)
    attention_inputs = reader(config.text_config).look(context.words, mask_BT, mask_BT.shape[1])
    return dataclasses.replace(context, attention_inputs=attention_inputs)


def _read(
    config: Blip2Config, params: Params, head_params: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    reads = reader(config.text_config)
    hidden_BTD = encode(config, params, hidden, context)
    if config.answering == GENERATE:
        ids_BA, mask_BA = generator_lib.require_answers(context.answers)
        logits_BAV = reads.score(params, context.words, hidden_BTD, context.mask_BT, ids_BA)
        return generator_lib.mask_logits(logits_BAV, mask_BA)
    state_BD = reads.pool(params, context.words, hidden_BTD, context.mask_BT)
    return head_lib.read(head_params, state_BD.astype(jnp.float32))


def _make_generator(config: Blip2Config, model: Model) -> Generator:
    if isinstance(config.text_config, T5Config):

        def encoded(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
            hidden, context = base.encode(model, params, batch)
            return encode(config, params["readout"], hidden, context), context.mask_BT

        return make_t5_generator(config.text_config, encoded)

    def embed_question(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        if config.selectable == "language":
            hidden_BTD, context = model.embed(params["embeddings"], batch)
        else:
            hidden_BTD, context = base.encode(model, params, batch)
            hidden_BTD = enter(config, params["readout"], hidden_BTD, context)
        return hidden_BTD, jnp.sum(context.mask_BT, axis=1, dtype=jnp.int32) - 1

    return causal_generator.make_causal_generator(
        causal_language(config.text_config),
        embed_question,
        is_selectable=config.selectable == "language",
        end_token=config.text_config.eos_token_id,
        padding_token=config.text_config.pad_token_id,
    )


def encode(config: Blip2Config, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs what is above the selectable stack, up to the language model's last block and norm.

    Args:
      config: sizes.
      params: of the readout.
      hidden: output of the selectable stack.
      context: as `embed` made it.

    Returns:
      The normed hidden_BTD of the language model (T5's encoder), the image's tokens in front.
    """
    reads = reader(config.text_config)
    if config.selectable != "language":
        hidden = stacks.run(
            lambda row, hidden: reads.block(row, hidden, context.attention_inputs),
            params["language_blocks"],
            enter(config, params, hidden, context),
        )
    return reads.norm(params["language_norm"], hidden)


def enter(config: Blip2Config, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs what is between the image encoder or the Q-Former, and the language model.

    Args:
      config: sizes; another stack than the language model is selectable.
      params: of the readout.
      hidden: output of the selectable stack.
      context: as `embed` made it.

    Returns:
      The input of the language model's first block.
    """
    if config.selectable == "vision":
        image_BSD = vision.final_norm(config.vision_config, params, hidden)
        hidden = qformer.start(config.qformer_config, params["queries"], len(image_BSD))
        hidden = _gather(config, params, hidden, image_BSD)
    else:
        hidden = _project(config, params, hidden)
    return _join(reader(config.text_config), context.words, hidden, context)


def init(config: Blip2Config, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      config: sizes.
      key: typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    of_vision, of_qformer, of_projection, of_language, of_adapters, of_head = jax.random.split(
        key, 6
    )
    text, (depth, width) = config.text_config, config.rows
    image_width = config.vision_config.hidden_size
    hidden_BQD = jnp.zeros((1, 1, config.qformer_config.hidden_size))
    parts = {
        **vision.init(config.vision_config, of_vision),
        **qformer.init(config.qformer_config, of_qformer, config.num_query_tokens, image_width),
        "projection": modules.init(nn.Dense(text.hidden_size), of_projection, hidden_BQD),
        **reader(text).init(of_language),
        "adapters": adapters.init_stack(
            of_adapters, layers=depth, width=width, bottleneck=config.adapter_size
        ),
        "head": head_lib.init(of_head, num_answers=config.num_answers, width=text.hidden_size),
    }
    if config.answering == GENERATE:
        parts["head"] = {}
    return arrangement(config).arrange(parts)


def _context(config: Blip2Config, reads: Reader, words: Params, batch: Batch) -> Context:
    """Returns a context for the image encoder; other stacks change what they know more of."""
    mask_BT = jnp.pad(
        jnp.asarray(batch.attention_mask_BT),
        ((0, 0), (config.num_query_tokens, 0)),
        constant_values=1,
    )
    text_BTD = jnp.take(words["word"], jnp.asarray(batch.input_ids_BT), axis=0)
    answers = generator_lib.target_answers(batch)
    if answers is not None and reads.reads_behind:
        question_mask_BT = jnp.asarray(batch.attention_mask_BT)
        text_BTD = causal_generator.append_answers(words, text_BTD, question_mask_BT, answers[0])
    attention_inputs = reads.look(words, mask_BT, config.num_query_tokens + text_BTD.shape[1])
    return Context(mask_BT, attention_inputs, words, None, text_BTD, answers)


def _gather(
    config: Blip2Config, params: Params, queries_BQD: jax.Array, image_BSD: jax.Array
) -> jax.Array:
    """Runs the Q-Former, where it is not selectable, and makes tokens of what it gives."""
    rows = params["qformer_blocks"]
    queries_BQD = qformer.run(config.qformer_config, rows, queries_BQD, image_BSD)
    return _project(config, params, queries_BQD)


def _project(config: Blip2Config, params: Params, queries_BQD: jax.Array) -> jax.Array:
    return modules.apply(
        nn.Dense(config.text_config.hidden_size), params["projection"], queries_BQD
    )


def _join(reads: Reader, words: Params, image_BQD: jax.Array, context: Context) -> jax.Array:
    """Puts the image's tokens in front of the question's, as the first block reads them."""
    both_BTD = jnp.concatenate([image_BQD.astype(context.text_BTD.dtype), context.text_BTD], axis=1)
    return reads.enter(words, both_BTD)
