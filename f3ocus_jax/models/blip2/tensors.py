"""Tensor mapping of BLIP-2: parameters here and tensors of transformers."""

import functools
from collections.abc import Sequence

from f3ocus_jax.models.blip import tensors as blip_tensors
from f3ocus_jax.models.blip2.config import Blip2Config
from f3ocus_jax.models.blip2.qformer import ATTENDING, QFormerConfig
from f3ocus_jax.models.huggingface import language_tensors, layout
from f3ocus_jax.models.huggingface.layout import TensorMapping

_COPIES = (
    "language_model.encoder.embed_tokens.weight",
    "language_model.decoder.embed_tokens.weight",
)
"""Copies of T5's word embeddings in some checkpoints."""
_OPT_WORDS = "language_model.model.decoder.embed_tokens.weight"
_SCORES = "language_model.lm_head.weight"


def tensors(config: Blip2Config) -> list[TensorMapping]:
    """Returns the tensor mappings of a Blip2ForConditionalGeneration."""
    return [
        *blip_tensors.vision(config.vision_config, blip_tensors.VISION_NAMES),
        layout.leading_axis(("queries", "token"), "query_tokens"),
        *layout.norm(("queries", "norm"), "qformer.layernorm"),
        *_qformer_blocks(config.qformer_config),
        *layout.linear(("projection",), "language_projection"),
        *language_tensors.of(config.text_config),
    ]


def _qformer_blocks(config: QFormerConfig) -> list[TensorMapping]:
    attention = functools.partial(blip_tensors.attention, inner="attention")
    mappings, depth = [], config.num_hidden_layers
    for first, kind in enumerate(config.kinds):
        layers = range(first, depth, config.cross_attention_frequency)
        path, block = ("qformer_blocks", kind), "qformer.encoder.layer.{layer}"
        mappings += attention(path, "", f"{block}.attention", layers)
        if kind == ATTENDING:
            mappings += attention(path, "cross_", f"{block}.crossattention", layers)
        intermediate, output = f"{block}.intermediate_query", f"{block}.output_query"
        mappings += layout.linear((*path, "intermediate"), f"{intermediate}.dense", layers)
        mappings += layout.linear((*path, "output"), f"{output}.dense", layers)
        mappings += layout.norm((*path, "feed_forward_norm"), f"{output}.LayerNorm", layers)
    return mappings


def rename(names: Sequence[str]) -> dict[str, str]:
    """Keeps all tensors that are not copies of others."""
    copies = (*_COPIES, _SCORES) if _OPT_WORDS in names else _COPIES
    return {name: name for name in names if name not in copies}
