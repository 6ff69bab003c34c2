"""Tensor mapping of BLIP-2: parameters here and tensors of transformers."""

from collections.abc import Sequence

from f3ocus_jax.models.blip import tensors as grounded_layout
from f3ocus_jax.models.blip2.config import Blip2Config
from f3ocus_jax.models.blip2.qformer import LOOKING, QFormerConfig
from f3ocus_jax.models.huggingface import language_tensors, layout
from f3ocus_jax.models.huggingface.layout import Path, Tensor

_COPIES = (
    "language_model.encoder.embed_tokens.weight",
    "language_model.decoder.embed_tokens.weight",
)
"""Of T5's word embeddings, in some files."""
_OPT_WORDS = "language_model.model.decoder.embed_tokens.weight"
_SCORES = "language_model.lm_head.weight"


def tensors(config: Blip2Config) -> list[Tensor]:
    """Returns every kind of tensor of a Blip2ForConditionalGeneration."""
    return [
        *grounded_layout.vision(config.vision_config, grounded_layout.VISION_NAMES),
        layout.leading_axis(("queries", "token"), "query_tokens"),
        *layout.norm(("queries", "norm"), "qformer.layernorm"),
        *_qformer_blocks(config.qformer_config),
        *layout.linear(("projection",), "language_projection"),
        *language_tensors.of(config.text_config),
    ]


def _qformer_blocks(config: QFormerConfig) -> list[Tensor]:
    kinds, depth = [], config.num_hidden_layers
    for place, kind in enumerate(config.kinds):
        numbers = range(place, depth, config.cross_attention_frequency)
        ours, theirs = ("qformer_blocks", kind), "qformer.encoder.layer.{layer}"
        kinds += _attention(ours, "", f"{theirs}.attention", numbers)
        if kind == LOOKING:
            kinds += _attention(ours, "cross_", f"{theirs}.crossattention", numbers)
        intermediate, output = f"{theirs}.intermediate_query", f"{theirs}.output_query"
        kinds += layout.linear((*ours, "intermediate"), f"{intermediate}.dense", numbers)
        kinds += layout.linear((*ours, "output"), f"{output}.dense", numbers)
        kinds += layout.norm((*ours, "feed_forward_norm"), f"{output}.LayerNorm", numbers)
    return kinds


def _attention(path: Path, ours: str, theirs: str, numbers: range) -> list[Tensor]:
    maps = {name: f"attention.{name}" for name in ("query", "key", "value")}
    maps["attention_output"] = "output.dense"
    norm = (*path, f"{ours}attention_norm")
    kinds = layout.norm(norm, f"{theirs}.output.LayerNorm", numbers)
    for name, tensor in maps.items():
        kinds += layout.linear((*path, f"{ours}{name}"), f"{theirs}.{tensor}", numbers)
    return kinds


def rename(names: Sequence[str]) -> dict[str, str]:
    """Takes all tensors but copies of others."""
    copies = (*_COPIES, _SCORES) if _OPT_WORDS in names else _COPIES
    return {name: name for name in names if name not in copies}
