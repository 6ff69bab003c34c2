"""Tensor mapping of BLIP, in pieces that ALBEF and BLIP-2 share."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from f3ocus_jax.models.blip import model as grounded
from f3ocus_jax.models.blip.config import BlipConfig, GroundedConfig
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import CHANNELS, VisionConfig
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.huggingface.layout import Path, Tensor
from f3ocus_jax.types import Params

POSITIONS: tuple[Path, str] = (("vision_embeddings", "position"), "bicubic")
"""What is resized for images of another side."""


@dataclasses.dataclass(frozen=True)
class VisionNames:
    """What the tensors of an image encoder are called, {layer} standing for the block's number."""

    class_token: str
    position: str
    patch: str
    attention_norm: str
    query_key_value: str
    attention_output: str
    feed_forward_norm: str
    intermediate: str
    output: str
    final_norm: str


_UNUSED = (
    "text_encoder.embeddings.position_ids",
    "text_decoder.bert.embeddings.position_ids",
    "text_decoder.cls.predictions.decoder.",
)
"""Constants, and copies of the decoder's word embeddings and bias, that some files hold."""

_VISION, _BLOCK = "vision_model", "vision_model.encoder.layers.{layer}"
VISION_NAMES = VisionNames(
    class_token=f"{_VISION}.embeddings.class_embedding",
    position=f"{_VISION}.embeddings.position_embedding",
    patch=f"{_VISION}.embeddings.patch_embedding",
    attention_norm=f"{_BLOCK}.layer_norm1",
    query_key_value=f"{_BLOCK}.self_attn.qkv",
    attention_output=f"{_BLOCK}.self_attn.projection",
    feed_forward_norm=f"{_BLOCK}.layer_norm2",
    intermediate=f"{_BLOCK}.mlp.fc1",
    output=f"{_BLOCK}.mlp.fc2",
    final_norm=f"{_VISION}.post_layernorm",
)


def tensors(config: BlipConfig) -> list[Tensor]:
    """Returns every kind of tensor of a BlipForQuestionAnswering."""
    text = config.text_config
    layers, embeddings = range(text.num_hidden_layers), ("text_embeddings",)
    return [
        *vision(config.vision_config, VISION_NAMES),
        *text_embeddings(text, embeddings, "text_encoder.embeddings"),
        *blocks(("fusion_blocks",), "text_encoder.encoder.layer", layers, looks=True),
        *decoder(config.decoder_config, "text_decoder"),
    ]


def rename(names: Sequence[str]) -> dict[str, str]:
    """Takes the tensors of a BlipForQuestionAnswering."""
    return {name: name for name in names if not name.startswith(_UNUSED)}


def vision(config: VisionConfig, names: VisionNames) -> list[Tensor]:
    """Returns the tensors of the image encoder.

    Args:
      config: its sizes.
      names: what they are called.
    """
    embeddings, ours = ("vision_embeddings",), ("vision_blocks",)
    layers = range(config.num_hidden_layers)
    attention = [(*ours, name) for name in ("query", "key", "value")]
    patch = {"size": config.patch_size, "channels": CHANNELS}
    return [
        layout.leading_axis((*embeddings, "class_token"), names.class_token),
        layout.leading_axis((*embeddings, "position"), names.position),
        *layout.patch((*embeddings, "patch"), names.patch, **patch),
        *layout.norm((*ours, "attention_norm"), names.attention_norm, layers),
        *layout.fused_linear(attention, names.query_key_value, layers),
        *layout.linear((*ours, "attention_output"), names.attention_output, layers),
        *layout.norm((*ours, "feed_forward_norm"), names.feed_forward_norm, layers),
        *layout.linear((*ours, "intermediate"), names.intermediate, layers),
        *layout.linear((*ours, "output"), names.output, layers),
        *layout.norm(("vision_norm", "norm"), names.final_norm),
    ]


def text_embeddings(config: TextConfig, path: Path, prefix: str) -> list[Tensor]:
    """Returns the tensors of a text's embeddings.

    Args:
      config: sizes.
      path: of ours.
      prefix: of their names.
    """
    types = layout.same((*path, "types"), f"{prefix}.token_type_embeddings.weight")
    return [
        layout.same((*path, "word"), f"{prefix}.word_embeddings.weight"),
        layout.same((*path, "position"), f"{prefix}.position_embeddings.weight"),
        *([types] if config.token_types else []),
        *layout.norm((*path, "norm"), f"{prefix}.LayerNorm"),
    ]


def blocks(path: Path, prefix: str, layers: range, *, looks: bool) -> list[Tensor]:
    """Returns the tensors of text or fusion blocks.

    Args:
      path: of ours.
      prefix: of their names, up to the layer's number.
      layers: the numbers.
      looks: whether the blocks have cross-attention.
    """
    theirs = f"{prefix}.{{layer}}"
    kinds = _attention(path, "", f"{theirs}.attention", layers)
    if looks:
        kinds += _attention(path, "cross_", f"{theirs}.crossattention", layers)
    return [
        *kinds,
        *layout.linear((*path, "intermediate"), f"{theirs}.intermediate.dense", layers),
        *layout.linear((*path, "output"), f"{theirs}.output.dense", layers),
        *layout.norm((*path, "feed_forward_norm"), f"{theirs}.output.LayerNorm", layers),
    ]


def decoder(config: TextConfig, prefix: str) -> list[Tensor]:
    """Returns the tensors of the decoder, whose last map is its word embeddings.

    Args:
      config: its sizes.
      prefix: of their names.
    """
    scores, layers = f"{prefix}.cls.predictions", range(config.num_hidden_layers)
    return [
        *text_embeddings(config, ("decoder", "embeddings"), f"{prefix}.bert.embeddings"),
        *blocks(("decoder", "blocks"), f"{prefix}.bert.encoder.layer", layers, looks=True),
        *layout.linear(("decoder", "scores", "transform"), f"{scores}.transform.dense"),
        *layout.norm(("decoder", "scores", "norm"), f"{scores}.transform.LayerNorm"),
        layout.same(("decoder", "scores", "bias"), f"{scores}.bias"),
    ]


def parts(config: GroundedConfig, params: Params) -> Params:
    """Returns parameters by what they are, whichever stack is selectable."""
    return grounded.arrangement(config).parts(params)


def arrange(config: GroundedConfig, parts: Params) -> Params:
    """Undoes `parts`."""
    return grounded.arrangement(config).arrange(parts)


def image_processor(config: GroundedConfig) -> Mapping[str, Any]:
    """Returns the class of transformers that prepares images, and the size it makes them."""
    size = {"height": config.image_size, "width": config.image_size}
    return {"image_processor_type": "BlipImageProcessor", "size": size}


def of_vocabulary(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    """Returns the sizes that a tokenizer decides; texts begin with [CLS] and end with [SEP]."""
    special = {"bos_token_id": "[CLS]", "sep_token_id": "[SEP]", "pad_token_id": "[PAD]"}
    ids = {name: token_id(token) for name, token in special.items()}
    return {"text_config": {"vocab_size": entries, **ids}}


def with_image_size(config: Any, image_size: int) -> Any:
    """Returns the same sizes for images of another side."""
    vision_config = dataclasses.replace(config.vision_config, image_size=image_size)
    return dataclasses.replace(config, vision_config=vision_config)


def _attention(path: Path, ours: str, theirs: str, layers: range) -> list[Tensor]:
    kinds = layout.norm((*path, f"{ours}attention_norm"), f"{theirs}.output.LayerNorm", layers)
    for name in ("query", "key", "value"):
        kinds += layout.linear((*path, f"{ours}{name}"), f"{theirs}.self.{name}", layers)
    output = (*path, f"{ours}attention_output")
    return kinds + layout.linear(output, f"{theirs}.output.dense", layers)
