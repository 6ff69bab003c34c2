"""Tensor mapping of BLIP, in pieces that ALBEF and BLIP-2 share."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from f3ocus_jax.models.blip.config import BlipConfig, FusionConfig
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import CHANNELS, VisionConfig
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.huggingface.layout import Path, TensorMapping

POSITION_EMBEDDINGS: tuple[Path, str] = (("vision_embeddings", "position"), "bicubic")
"""Path and resizing method of the patches' position embeddings."""


@dataclasses.dataclass(frozen=True)
class VisionNames:
    """Names of an image encoder's tensors; {layer} stands for the index of the block."""

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
"""Constants, and copies of the decoder's word embeddings and bias, in some checkpoints."""

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


def tensors(config: BlipConfig) -> list[TensorMapping]:
    """Returns the tensor mappings of a BlipForQuestionAnswering."""
    text = config.text_config
    layers, embeddings = range(text.num_hidden_layers), ("text_embeddings",)
    return [
        *vision(config.vision_config, VISION_NAMES),
        *text_embeddings(text, embeddings, "text_encoder.embeddings"),
        *blocks(("fusion_blocks",), "text_encoder.encoder.layer", layers, cross_attention=True),
        *decoder(config.decoder_config, "text_decoder"),
    ]


def rename(names: Sequence[str]) -> dict[str, str]:
    """Takes the tensors of a BlipForQuestionAnswering."""
    return {name: name for name in names if not name.startswith(_UNUSED)}


def vision(config: VisionConfig, names: VisionNames) -> list[TensorMapping]:
    """Returns the tensor mappings of the image encoder.

    Args:
      config: Sizes of the encoder.
      names: Names of its tensors.
    """
    embeddings, path = ("vision_embeddings",), ("vision_blocks",)
    layers = range(config.num_hidden_layers)
    attention = [(*path, name) for name in ("query", "key", "value")]
    patch = {"size": config.patch_size, "channels": CHANNELS}
    return [
        layout.leading_axis((*embeddings, "class_token"), names.class_token),
        layout.leading_axis((*embeddings, "position"), names.position),
        *layout.patch((*embeddings, "patch"), names.patch, **patch),
        *layout.norm((*path, "attention_norm"), names.attention_norm, layers),
        *layout.fused_linear(attention, names.query_key_value, layers),
        *layout.linear((*path, "attention_output"), names.attention_output, layers),
        *layout.norm((*path, "feed_forward_norm"), names.feed_forward_norm, layers),
        *layout.linear((*path, "intermediate"), names.intermediate, layers),
        *layout.linear((*path, "output"), names.output, layers),
        *layout.norm(("vision_norm", "norm"), names.final_norm),
    ]


def text_embeddings(config: TextConfig, path: Path, prefix: str) -> list[TensorMapping]:
    """Returns the tensor mappings of text embeddings.

    Args:
      config: Sizes.
      path: Path of the embeddings among the submodules.
      prefix: Prefix of the tensors' names.
    """
    types = layout.identical((*path, "types"), f"{prefix}.token_type_embeddings.weight")
    return [
        layout.identical((*path, "word"), f"{prefix}.word_embeddings.weight"),
        layout.identical((*path, "position"), f"{prefix}.position_embeddings.weight"),
        *([types] if config.token_types else []),
        *layout.norm((*path, "norm"), f"{prefix}.LayerNorm"),
    ]


def blocks(path: Path, prefix: str, layers: range, *, cross_attention: bool) -> list[TensorMapping]:
    """Returns the tensor mappings of text or fusion blocks.

    Args:
      path: Path of the blocks among the submodules.
      prefix: Prefix of the tensors' names, up to the index of the layer.
      layers: Indices of the layers.
      cross_attention: True if the blocks attend to the image.
    """
    block = f"{prefix}.{{layer}}"
    mappings = attention(path, "", f"{block}.attention", layers)
    if cross_attention:
        mappings += attention(path, "cross_", f"{block}.crossattention", layers)
    return [
        *mappings,
        *layout.linear((*path, "intermediate"), f"{block}.intermediate.dense", layers),
        *layout.linear((*path, "output"), f"{block}.output.dense", layers),
        *layout.norm((*path, "feed_forward_norm"), f"{block}.output.LayerNorm", layers),
    ]


def decoder(config: TextConfig, prefix: str) -> list[TensorMapping]:
    """Returns the tensor mappings of the decoder, whose output weights are its word embeddings.

    Args:
      config: Sizes of the decoder.
      prefix: Prefix of the tensors' names.
    """
    scores, layers = f"{prefix}.cls.predictions", range(config.num_hidden_layers)
    return [
        *text_embeddings(config, ("decoder", "embeddings"), f"{prefix}.bert.embeddings"),
        *blocks(
            ("decoder", "blocks"), f"{prefix}.bert.encoder.layer", layers, cross_attention=True
        ),
        *layout.linear(("decoder", "scores", "transform"), f"{scores}.transform.dense"),
        *layout.norm(("decoder", "scores", "norm"), f"{scores}.transform.LayerNorm"),
        layout.identical(("decoder", "scores", "bias"), f"{scores}.bias"),
    ]


def image_processor(config: FusionConfig) -> Mapping[str, Any]:
    """Returns the class of transformers that prepares images, and their size."""
    size = {"height": config.image_size, "width": config.image_size}
    return {"image_processor_type": "BlipImageProcessor", "size": size}


def vocabulary_sizes(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    """Returns the sizes that a tokenizer decides; answers begin with [CLS] and end with [SEP]."""
    special = {"bos_token_id": "[CLS]", "sep_token_id": "[SEP]", "pad_token_id": "[PAD]"}
    ids = {name: token_id(token) for name, token in special.items()}
    return {"text_config": {"vocab_size": entries, **ids}}


def attention(
    path: Path, prefix: str, name: str, layers: range, inner: str = "self"
) -> list[TensorMapping]:
    """Returns the tensor mappings of one attention of BERT's blocks.

    Args:
      path: Path of the blocks among the submodules.
      prefix: Prefix of the parameters' names.
      name: Prefix of the tensors' names.
      layers: Indices of the layers.
      inner: Name of the part that holds queries, keys and values.
    """
    mappings = layout.norm((*path, f"{prefix}attention_norm"), f"{name}.output.LayerNorm", layers)
    for part in ("query", "key", "value"):
        mappings += layout.linear((*path, f"{prefix}{part}"), f"{name}.{inner}.{part}", layers)
    output = (*path, f"{prefix}attention_output")
    return mappings + layout.linear(output, f"{name}.output.dense", layers)
