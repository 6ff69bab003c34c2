"""Tensor mapping of ViLT: parameters here and tensors of transformers."""

from collections.abc import Sequence

from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.huggingface.layout import Path, TensorMapping
from f3ocus_jax.models.vilt.config import ViltConfig

OTHER_HEADS = ("mlm_score.", "rank_output.")
"""Prefixes of heads of other tasks (masked words, retrieval)."""

BUFFERS = ("vilt.embeddings.text_embeddings.position_ids",)
"""Constants that older versions of transformers save with the parameters."""

HEAD = "classifier."

_TEXT, _IMAGE = "vilt.embeddings.text_embeddings", "vilt.embeddings"
_LAYER = "vilt.encoder.layer.{layer}"

_TABLES = {
    "word": f"{_TEXT}.word_embeddings.weight",
    "text_position": f"{_TEXT}.position_embeddings.weight",
    "text_type": f"{_TEXT}.token_type_embeddings.weight",
    "modality": f"{_IMAGE}.token_type_embeddings.weight",
}
_NORMS: dict[Path, str] = {
    ("embeddings", "text_norm"): f"{_TEXT}.LayerNorm",
    ("blocks", "attention_norm"): f"{_LAYER}.layernorm_before",
    ("blocks", "feed_forward_norm"): f"{_LAYER}.layernorm_after",
    ("readout", "norm"): "vilt.layernorm",
    ("head", "answers", "norm"): f"{HEAD}1",
}
_LINEAR: dict[Path, str] = {
    ("blocks", "query"): f"{_LAYER}.attention.attention.query",
    ("blocks", "key"): f"{_LAYER}.attention.attention.key",
    ("blocks", "value"): f"{_LAYER}.attention.attention.value",
    ("blocks", "attention_output"): f"{_LAYER}.attention.output.dense",
    ("blocks", "intermediate"): f"{_LAYER}.intermediate.dense",
    ("blocks", "output"): f"{_LAYER}.output.dense",
    ("readout", "pooler"): "vilt.pooler.dense",
    ("head", "answers", "hidden"): f"{HEAD}0",
    ("head", "answers", "answers"): f"{HEAD}3",
}


def tensors(config: ViltConfig) -> list[TensorMapping]:
    """Returns the tensor mappings of a ViltForQuestionAnswering."""
    mappings = [layout.identical(("embeddings", name), _TABLES[name]) for name in _TABLES]
    mappings.append(layout.leading_axis(("embeddings", "class_token"), f"{_IMAGE}.cls_token"))
    mappings.append(
        layout.leading_axis(("embeddings", "position"), f"{_IMAGE}.position_embeddings")
    )
    mappings += layout.patch(
        ("embeddings", "patch"),
        f"{_IMAGE}.patch_embeddings.projection",
        size=config.patch_size,
        channels=config.num_channels,
    )
    for path, name in _NORMS.items():
        mappings += layout.norm(path, name, _layers(config, path))
    for path, name in _LINEAR.items():
        use_bias = config.qkv_bias or path[-1] not in ("query", "key", "value")
        mappings += layout.linear(path, name, _layers(config, path), use_bias=use_bias)
    return mappings


def _layers(config: ViltConfig, path: Path) -> range:
    return range(config.num_hidden_layers) if path[0] == "blocks" else layout.ONCE


def rename(names: Sequence[str]) -> dict[str, str]:
    """Takes the tensors of a ViltModel, ViltForMaskedLM or ViltForQuestionAnswering."""
    bare = not any(name.startswith("vilt.") for name in names)
    renamed = {name: f"vilt.{name}" if bare else name for name in names}
    unused = (*OTHER_HEADS, *BUFFERS)
    return {name: new for name, new in renamed.items() if not new.startswith(unused)}
