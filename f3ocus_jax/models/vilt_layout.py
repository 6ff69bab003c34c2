"""Which Hugging Face tensor is which of our ViLT parameters, and how is it laid out there?"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.models import vilt
from f3ocus_jax.models.vilt import ViltConfig
from f3ocus_jax.types import Params

Path = tuple[str, ...]

OTHER_HEADS = ("mlm_score.", "rank_output.")
"""Heads of other tasks (masked words, retrieval), which a question answering model leaves out."""

BUFFERS = ("vilt.embeddings.text_embeddings.position_ids",)
"""Constants that older versions of transformers saved with the parameters."""

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
    ("head", "norm"): f"{HEAD}1",
}
_LINEAR: dict[Path, str] = {
    ("blocks", "query"): f"{_LAYER}.attention.attention.query",
    ("blocks", "key"): f"{_LAYER}.attention.attention.key",
    ("blocks", "value"): f"{_LAYER}.attention.attention.value",
    ("blocks", "attention_output"): f"{_LAYER}.attention.output.dense",
    ("blocks", "intermediate"): f"{_LAYER}.intermediate.dense",
    ("blocks", "output"): f"{_LAYER}.output.dense",
    ("readout", "pooler"): "vilt.pooler.dense",
    ("head", "hidden"): f"{HEAD}0",
    ("head", "answers"): f"{HEAD}3",
}


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One kind of tensor.

    Attributes:
      path: of the parameter in ours; one that begins with "blocks" is there once per layer.
      name: theirs, with {layer} where it is there once per layer.
      to_theirs: changes our layout into theirs.
      to_ours: undoes it.
    """

    path: Path
    name: str
    to_theirs: Callable[[np.ndarray], np.ndarray]
    to_ours: Callable[[np.ndarray], np.ndarray]


def tensors(config: ViltConfig) -> list[Tensor]:
    """Returns every kind of tensor of a ViLT for question answering."""
    kinds = [_same(("embeddings", name), _TABLES[name]) for name in _TABLES]
    kinds += [
        Tensor(("embeddings", "class_token"), f"{_IMAGE}.cls_token", _lead, _drop_lead),
        Tensor(("embeddings", "position"), f"{_IMAGE}.position_embeddings", _lead, _drop_lead),
        _patch_kernel(config),
        _same(("embeddings", "patch", "bias"), f"{_IMAGE}.patch_embeddings.projection.bias"),
    ]
    for path, name in _NORMS.items():
        kinds += [_same((*path, "scale"), f"{name}.weight"), _same((*path, "bias"), f"{name}.bias")]
    for path, name in _LINEAR.items():
        # torch keeps the matrix of a linear map as [out, in].
        kinds.append(Tensor((*path, "kernel"), f"{name}.weight", np.transpose, np.transpose))
        if config.qkv_bias or path[-1] not in ("query", "key", "value"):
            kinds.append(_same((*path, "bias"), f"{name}.bias"))
    return kinds


def expected_shapes(config: ViltConfig) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of all tensors of a ViLT, as Hugging Face has them."""
    template = jax.eval_shape(lambda: vilt.init(config, jax.random.key(0)))
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), template)
    return {name: tensor.shape for name, tensor in _to_huggingface(config, zeros)}


def to_huggingface(config: ViltConfig, params: Params) -> dict[str, np.ndarray]:
    """Converts parameters; adapters, which Hugging Face's ViLT lacks, are left out.

    Args:
      config: sizes.
      params: of a ViLT.

    Returns:
      Names to arrays.
    """
    return dict(_to_huggingface(config, params))


def from_huggingface(config: ViltConfig, theirs: Mapping[str, np.ndarray]) -> Params:
    """Converts tensors.

    Args:
      config: sizes.
      theirs: names to arrays of the expected shapes; those of the head may be absent.

    Returns:
      Parameters without adapters, and without a head where `theirs` has none.
    """
    params: dict[str, Any] = {}
    for kind in tensors(config):
        if kind.path[0] == "head" and kind.name not in theirs:
            continue
        names = [kind.name.format(layer=layer) for layer in range(config.num_hidden_layers)]
        if kind.path[0] == "blocks":
            value = np.stack([kind.to_ours(theirs[name]) for name in names])
        else:
            value = kind.to_ours(theirs[kind.name])
        node = params
        for key in kind.path[:-1]:
            node = node.setdefault(key, {})
        node[kind.path[-1]] = jnp.asarray(value)
    return params


def _to_huggingface(config: ViltConfig, params: Params) -> Iterator[tuple[str, np.ndarray]]:
    for kind in tensors(config):
        value = params
        for key in kind.path:
            value = value[key]
        if kind.path[0] != "blocks":
            yield kind.name, kind.to_theirs(np.asarray(value))
            continue
        for layer, row in enumerate(np.asarray(value)):
            yield kind.name.format(layer=layer), kind.to_theirs(row)


def _same(path: Path, name: str) -> Tensor:
    return Tensor(path, name, lambda ours: ours, lambda theirs: theirs)


def _lead(ours: np.ndarray) -> np.ndarray:
    return ours[None]


def _drop_lead(theirs: np.ndarray) -> np.ndarray:
    return theirs[0]


def _patch_kernel(config: ViltConfig) -> Tensor:
    """Our matrix over flattened patches is torch's convolution, [out, channel, row, column]."""
    size, channels = config.patch_size, config.num_channels

    def to_theirs(ours: np.ndarray) -> np.ndarray:
        return ours.reshape(size, size, channels, -1).transpose(3, 2, 0, 1)

    def to_ours(theirs: np.ndarray) -> np.ndarray:
        return theirs.transpose(2, 3, 1, 0).reshape(size * size * channels, -1)

    name = f"{_IMAGE}.patch_embeddings.projection.weight"
    return Tensor(("embeddings", "patch", "kernel"), name, to_theirs, to_ours)
