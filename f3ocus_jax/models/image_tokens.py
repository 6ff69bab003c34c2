"""Models whose language model reads an image's tokens among those of the question.

An image encoder and a projector make tokens of the image, which replace the `<image>` token of the
question. The blocks of a Llama read all tokens, and the answer head reads the question's last one.
The output weights of the language model, which a model with an answer head does not use, write
answers. The blocks of the language model or of the image encoder can be selectable.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.data.tokenizer import IMAGE_TOKEN
from f3ocus_jax.models import base, head as head_lib, stacks
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import adapters, bert, llama, vision
from f3ocus_jax.models.blocks.language_model import LanguageModel
from f3ocus_jax.models.context import Context
from f3ocus_jax.models.encoders import ImageTokensConfig
from f3ocus_jax.models.generation import causal_generator, generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params, Rows

Spec = ModelSpec[Any]
"""Specification of a model whose config is an `ImageTokensConfig`."""


VocabularySizes = Callable[[int, Callable[[str], int]], Mapping[str, Any]]
"""(entries of a vocabulary, id of a token) -> settings of a model that depend on it."""


def make_vocabulary_sizes(image_token: str) -> VocabularySizes:
    """Makes `Family.vocabulary_sizes` of a family.

    Args:
      image_token: Setting that holds the id of the image's token.

    Returns:
      The function.
    """

    def vocabulary_sizes(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
        tokens = {"eos_token_id": token_id("[SEP]"), "pad_token_id": token_id("[PAD]")}
        return {
            "text_config": {"vocab_size": entries, **tokens},
            image_token: token_id(IMAGE_TOKEN),
        }

    return vocabulary_sizes


@dataclasses.dataclass(frozen=True)
class ImageReader:
    """How a family makes tokens of an image, as functions of its sizes and submodules.

    Attributes:
      layout: Maps the sizes to the layout of the parameters: "vision_embeddings" and
        "vision_blocks" are of the image; "words", "language_blocks", "language_norm" and, unless
        they are tied, "scores" of the language model.
      embed: Maps (sizes, vision_embeddings, images_BHWC) to image_BPD, input of the first block.
      project: Maps (sizes, submodules, image_BPD after the last block) to the image's tokens, as
        wide as the language model.
      init: Maps (sizes, key of the image encoder, key of the projector) to the image's submodules.
    """

    layout: Callable[[Any], ParameterLayout]
    embed: Callable[[Any, Params, jax.Array], jax.Array]
    project: Callable[[Any, Params, jax.Array], jax.Array]
    init: Callable[[Any, jax.Array, jax.Array], dict[str, Params]]


def model_factory(reader: ImageReader) -> Callable[[Spec], Model]:
    """Makes a family's `make_model`.

    Args:
      reader: The family's way to make tokens of an image.

    Returns:
      Maps a specification to the model. Its `embed` takes uint8 images, which it normalises, or
      float ones that are normalised already. A question without an `<image>` token loses its first
      token to the image.
    """
    return base.model_factory(
        init=functools.partial(_init, reader),
        embed=functools.partial(_embed, reader),
        block=_apply_block,
        readout=functools.partial(_read, reader),
        extend=_extend,
        make_generator=functools.partial(_make_generator, reader),
    )


def make_language_model(config: ImageTokensConfig) -> LanguageModel:
    """Makes the language model of these sizes."""
    return llama.make_language_model(config.text_config, tied=config.tie_word_embeddings)


def encode(
    reader: ImageReader, spec: Spec, params: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    """Runs the submodules after the selectable stack, up to the language model's last norm.

    Args:
      reader: The family's way to make tokens of an image.
      spec: Specification of the model.
      params: Parameters of the readout.
      hidden: Output of the selectable stack.
      context: Context of `embed`.

    Returns:
      Normed hidden_BTD of the language model; the image's tokens are among the question's.
    """
    text = spec.config.text_config
    if spec.setup.selectable == "vision":
        hidden = _insert(reader, spec.config, params, hidden, context)
        hidden = stacks.run(
            lambda row, hidden: llama.apply_block(text, row, hidden, context.attention_inputs),
            params["language_blocks"],
            hidden,
        )
    return make_language_model(spec.config).norm(params["language_norm"], hidden)


def insert_image(text_BTD: jax.Array, image_BPD: jax.Array, index_B: jax.Array) -> jax.Array:
    """Replaces one token of the text by the tokens of an image.

    Args:
      text_BTD: Embeddings of the text's T tokens.
      image_BPD: Embeddings of the image's P tokens.
      index_B: int32, index of the token of the text that they replace.

    Returns:
      Embeddings [B, T - 1 + P, D].
    """
    tokens, patches = text_BTD.shape[1], image_BPD.shape[1]
    behind_BS = jnp.arange(tokens - 1 + patches)[None] - index_B[:, None]
    source_BS = jnp.where(
        behind_BS < 0,
        behind_BS + index_B[:, None],
        jnp.where(
            behind_BS < patches, tokens + behind_BS, behind_BS + index_B[:, None] + 1 - patches
        ),
    )
    both_BSD = jnp.concatenate([text_BTD, image_BPD], axis=1)
    return jnp.take_along_axis(both_BSD, source_BS[..., None], axis=1)


def _init(reader: ImageReader, spec: Spec, key: jax.Array) -> Params:
    vision_key, projector_key, language_key, adapters_key, head_key = jax.random.split(key, 5)
    config, width = spec.config, spec.config.text_config.hidden_size
    submodules = {
        **reader.init(config, vision_key, projector_key),
        **make_language_model(config).init(language_key),
        **base.init_trainable(spec, adapters_key, head_key, head_width=width),
    }
    return reader.layout(config).to_params(submodules, spec.stack.submodule)


def _embed(
    reader: ImageReader, spec: Spec, params: Params, batch: Batch
) -> tuple[jax.Array, Context]:
    """Runs the submodules before the selectable stack; raises ValueError for other shapes."""
    config = spec.config
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, config.NAME)
    images_BHWC = vision.prepare_images(spec, batch)
    image_BPD = reader.embed(config, params["vision_embeddings"], images_BHWC)
    context = _context(config, params["words"], batch)
    if spec.setup.selectable == "vision":
        return image_BPD, context
    image_BPD = stacks.run(
        lambda row, hidden: vision.apply_block(config.vision_config, row, hidden),
        params["vision_blocks"],
        image_BPD,
    )
    hidden_BTD = _insert(reader, config, params, image_BPD, context)
    return hidden_BTD, dataclasses.replace(context, text_BTD=None)


def _apply_block(
    spec: Spec, row: Rows, adapter: Rows, hidden: jax.Array, context: Context
) -> jax.Array:
    config = spec.config
    adapt = functools.partial(adapters.apply_keeping_dtype, adapter)
    if spec.setup.selectable == "vision":
        return vision.apply_block(config.vision_config, row, hidden, adapt)
    return llama.apply_block(config.text_config, row, hidden, context.attention_inputs, adapt)


def _extend(spec: Spec, context: Context, tokens: int) -> Context:
    if spec.setup.selectable == "vision":
        return context
    length = context.attention_inputs.bias_B1TS.shape[-1] + tokens
    attention_inputs = llama.make_attention_inputs(
        spec.config.text_config, jnp.arange(length)[None], length
    )
    return dataclasses.replace(context, attention_inputs=attention_inputs)


def _read(
    reader: ImageReader,
    spec: Spec,
    params: Params,
    head: Params,
    hidden: jax.Array,
    context: Context,
) -> jax.Array:
    hidden_BTD = encode(reader, spec, params, hidden, context)
    if spec.generates:
        ids_BA, mask_BA = generator_lib.require_answers(context.answers)
        language, length = make_language_model(spec.config), ids_BA.shape[1]
        logits_BAV = causal_generator.answer_logits(
            language, params, context.words, hidden_BTD, context.last_index_B, length
        )
        return generator_lib.mask_logits(logits_BAV, mask_BA)
    last_BD = jnp.take_along_axis(hidden_BTD, context.last_index_B[:, None, None], axis=1)[:, 0]
    return head_lib.read(head, last_BD.astype(jnp.float32))


def _make_generator(reader: ImageReader, spec: Spec, model: Model) -> Generator:
    def embed_question(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        if spec.setup.selectable == "language":
            hidden_BTD, context = model.embed(params["embeddings"], batch)
            return hidden_BTD, context.last_index_B
        image_BPD, context = base.encode(model, params, batch)
        hidden_BTD = _insert(reader, spec.config, params["readout"], image_BPD, context)
        return hidden_BTD, context.last_index_B

    text = spec.config.text_config
    return causal_generator.make_causal_generator(
        make_language_model(spec.config),
        embed_question,
        is_selectable=spec.setup.selectable == "language",
        end_token=text.eos_token_id,
        padding_token=text.pad_token_id,
    )


def _context(config: ImageTokensConfig, words: Params, batch: Batch) -> Context:
    text_BTD = _embed_words(words, batch)
    is_image_BT = jnp.asarray(batch.input_ids_BT) == config.image_token
    added = config.image_tokens - 1
    length = text_BTD.shape[1] + added
    last_B = jnp.sum(jnp.asarray(batch.attention_mask_BT), axis=1, dtype=jnp.int32) - 1
    return Context(
        attention_inputs=llama.make_attention_inputs(
            config.text_config, jnp.arange(length)[None], length
        ),
        image_index_B=jnp.argmax(is_image_BT, axis=1).astype(jnp.int32),
        last_index_B=jnp.maximum(last_B, 0) + added,  # an example of padding has no last token
        text_BTD=text_BTD,
        words=words if config.tie_word_embeddings else {},
        answers=generator_lib.target_answers(batch),
    )


def _embed_words(words: Params, batch: Batch) -> jax.Array:
    """Returns the embeddings of a question's tokens, and of a target answer after them."""
    text_BTD = jnp.take(words["word"], jnp.asarray(batch.input_ids_BT), axis=0)
    answers = generator_lib.target_answers(batch)
    if answers is None:
        return text_BTD
    mask_BT = jnp.asarray(batch.attention_mask_BT)
    return causal_generator.append_answers(words, text_BTD, mask_BT, answers[0])


def _insert(
    reader: ImageReader,
    config: ImageTokensConfig,
    params: Params,
    image_BPD: jax.Array,
    context: Context,
) -> jax.Array:
    """Inserts the image's tokens into the text."""
    projected_BPD = reader.project(config, params, image_BPD)
    return insert_image(context.text_BTD, projected_BPD, context.image_index_B)
