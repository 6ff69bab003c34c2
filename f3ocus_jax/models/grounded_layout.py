"""Which tensors do the parts of a BLIP have at Hugging Face, and how are they laid out there?"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.models import grounded, layout
from f3ocus_jax.models.bert import TextConfig
from f3ocus_jax.models.grounded import GroundedSizes
from f3ocus_jax.models.layout import Path, Tensor
from f3ocus_jax.models.vision import CHANNELS, VisionConfig
from f3ocus_jax.types import Params

POSITIONS: tuple[Path, str] = (("vision_embeddings", "position"), "bicubic")
"""What is resized for images of another side."""


def vision(config: VisionConfig, prefix: str) -> list[Tensor]:
    """Returns the tensors of the image encoder.

    Args:
      config: its sizes.
      prefix: of their names.
    """
    embeddings, layer = f"{prefix}.embeddings", f"{prefix}.encoder.layers.{{layer}}"
    ours, layers = ("vision_blocks",), range(config.num_hidden_layers)
    attention = [(*ours, name) for name in ("query", "key", "value")]
    return [
        layout.leading_axis(("vision_embeddings", "class_token"), f"{embeddings}.class_embedding"),
        layout.leading_axis(("vision_embeddings", "position"), f"{embeddings}.position_embedding"),
        *layout.patch(
            ("vision_embeddings", "patch"),
            f"{embeddings}.patch_embedding",
            size=config.patch_size,
            channels=CHANNELS,
        ),
        *layout.norm((*ours, "attention_norm"), f"{layer}.layer_norm1", layers),
        *layout.fused_linear(attention, f"{layer}.self_attn.qkv", layers),
        *layout.linear((*ours, "attention_output"), f"{layer}.self_attn.projection", layers),
        *layout.norm((*ours, "feed_forward_norm"), f"{layer}.layer_norm2", layers),
        *layout.linear((*ours, "intermediate"), f"{layer}.mlp.fc1", layers),
        *layout.linear((*ours, "output"), f"{layer}.mlp.fc2", layers),
        *layout.norm(("vision_norm", "norm"), f"{prefix}.post_layernorm"),
    ]


def text_embeddings(path: Path, prefix: str) -> list[Tensor]:
    """Returns the tensors of a text's embeddings.

    Args:
      path: of ours.
      prefix: of their names.
    """
    return [
        layout.same((*path, "word"), f"{prefix}.word_embeddings.weight"),
        layout.same((*path, "position"), f"{prefix}.position_embeddings.weight"),
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
        *text_embeddings(("decoder", "embeddings"), f"{prefix}.bert.embeddings"),
        *blocks(("decoder", "blocks"), f"{prefix}.bert.encoder.layer", layers, looks=True),
        *layout.linear(("decoder", "scores", "transform"), f"{scores}.transform.dense"),
        *layout.norm(("decoder", "scores", "norm"), f"{scores}.transform.LayerNorm"),
        layout.same(("decoder", "scores", "bias"), f"{scores}.bias"),
    ]


def parts(config: GroundedSizes, params: Params) -> Params:
    """Returns parameters by what they are, whichever stack is selectable."""
    return grounded.arrangement(config).parts(params)


def arrange(config: GroundedSizes, parts: Params) -> Params:
    """Undoes `parts`."""
    return grounded.arrangement(config).arrange(parts)


def image_processor(config: GroundedSizes) -> Mapping[str, Any]:
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
