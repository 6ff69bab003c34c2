"""LLaVA-1.5 (Liu et al., 2023): a language model that reads the patches of an image as words.

The image goes through CLIP's encoder and a projector of two linear maps; its tokens replace the
`<image>` token of the question. The language model's blocks read all tokens, and the answer head
reads the question's last one. The output weights of the language model, which a model with an
answer head does not use, write answers. The blocks of the language model or of the image encoder
can be selectable.
"""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from f3ocus_jax.models import base, head as head_lib, stacks
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import adapters, bert, clip, layers, llama, modules, vision
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.context import Context
from f3ocus_jax.models.generation import causal_generator, generator as generator_lib
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.llava.config import LlavaConfig
from f3ocus_jax.models.parameter_layout import ParameterLayout
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params, Rows

Spec = ModelSpec[LlavaConfig]


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


def _embed(spec: Spec, params: Params, batch: Batch) -> tuple[jax.Array, Context]:
    """Runs the submodules before the selectable stack; raises ValueError for other shapes."""
    config = spec.config
    bert.check_length(batch.input_ids_BT, config.max_position_embeddings, config.NAME)
    images_BHWC = vision.prepare_images(spec, batch)
    image_BPD = clip.embed(config.vision_config, params["vision_embeddings"], images_BHWC)
    text_BTD = _embed_words(params["words"], batch)
    context = _context(config, batch, text_BTD)
    if spec.setup.selectable == "vision":
        return image_BPD, context
    image_BPD = _run_vision(config, params["vision_blocks"], image_BPD)
    hidden_BTD = _insert_image(config, params["projector"], image_BPD, text_BTD, context)
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
    spec: Spec, params: Params, head: Params, hidden: jax.Array, context: Context
) -> jax.Array:
    hidden_BTD = encode(spec, params, hidden, context)
    if spec.generates:
        ids_BA, mask_BA = generator_lib.require_answers(context.answers)
        language, length = llama.make_language_model(spec.config.text_config), ids_BA.shape[1]
        logits_BAV = causal_generator.answer_logits(
            language, params, {}, hidden_BTD, context.last_index_B, length
        )
        return generator_lib.mask_logits(logits_BAV, mask_BA)
    last_BD = jnp.take_along_axis(hidden_BTD, context.last_index_B[:, None, None], axis=1)[:, 0]
    return head_lib.read(head, last_BD.astype(jnp.float32))


def _make_generator(spec: Spec, model: Model) -> Generator:
    def embed_question(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        if spec.setup.selectable == "language":
            hidden_BTD, context = model.embed(params["embeddings"], batch)
            return hidden_BTD, context.last_index_B
        image_BPD, context = base.encode(model, params, batch)
        projector, text_BTD = params["readout"]["projector"], context.text_BTD
        return _insert_image(
            spec.config, projector, image_BPD, text_BTD, context
        ), context.last_index_B

    text = spec.config.text_config
    return causal_generator.make_causal_generator(
        llama.make_language_model(text),
        embed_question,
        is_selectable=spec.setup.selectable == "language",
        end_token=text.eos_token_id,
        padding_token=text.pad_token_id,
    )


def encode(spec: Spec, params: Params, hidden: jax.Array, context: Context) -> jax.Array:
    """Runs the submodules after the selectable stack, up to the language model's last norm.

    Args:
      spec: Specification of the model.
      params: Parameters of the readout.
      hidden: Output of the selectable stack.
      context: Context of `embed`.

    Returns:
      Normed hidden_BTD of the language model; the image's tokens are among the question's.
    """
    text = spec.config.text_config
    if spec.setup.selectable == "vision":
        hidden = _insert_image(spec.config, params["projector"], hidden, context.text_BTD, context)
        hidden = stacks.run(
            lambda row, hidden: llama.apply_block(text, row, hidden, context.attention_inputs),
            params["language_blocks"],
            hidden,
        )
    return llama.make_language_model(text).norm(params["language_norm"], hidden)


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


def init(spec: Spec, key: jax.Array) -> Params:
    """Draws fresh parameters.

    Args:
      spec: Specification of the model.
      key: Typed random key.

    Returns:
      Parameters with the keys of `Model`, float32.
    """
    vision_key, projector_key, language_key, adapters_key, head_key = jax.random.split(key, 5)
    config, text = spec.config, spec.config.text_config
    hidden_BPD = jnp.zeros((1, 1, config.vision_config.hidden_size))
    submodules = {
        **_init_vision(config, vision_key),
        "projector": modules.init(Projector(config), projector_key, hidden_BPD),
        **llama.init(text, language_key),
        **base.init_trainable(spec, adapters_key, head_key, head_width=text.hidden_size),
    }
    return layout(config).to_params(submodules, spec.stack.submodule)


def _init_vision(config: LlavaConfig, key: jax.Array) -> Params:
    embeddings_key, blocks_key, norm_key, unused_key = jax.random.split(key, 4)
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
    }


def _embed_words(words: Params, batch: Batch) -> jax.Array:
    """Returns the embeddings of a question's tokens, and of a target answer after them."""
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
        image_index_B=jnp.argmax(is_image_BT, axis=1).astype(jnp.int32),
        last_index_B=jnp.maximum(last_B, 0) + added,  # an example of padding has no last token
        text_BTD=text_BTD,
        answers=generator_lib.target_answers(batch),
    )


def _run_vision(config: LlavaConfig, rows: Rows, hidden: jax.Array) -> jax.Array:
    """Runs the used blocks of an image encoder that is not selectable."""
    return stacks.run(
        lambda row, hidden: vision.apply_block(config.vision_config, row, hidden), rows, hidden
    )


def _insert_image(
    config: LlavaConfig, params: Params, image: jax.Array, text: jax.Array, context: Context
) -> jax.Array:
    """Inserts the image's states, without its class token, into the text."""
    projected = modules.apply(Projector(config), params, image[:, 1:])
    return insert_image(text, projected, context.image_index_B)


make_model = base.model_factory(
    init=init,
    embed=_embed,
    block=_apply_block,
    readout=_read,
    extend=_extend,
    make_generator=_make_generator,
)
"""Maps a specification to a LLaVA.

`embed` takes uint8 images, which it normalises, or float ones that are normalised already. A
question without an `<image>` token loses its first token to the image."""
