"""Layout of parameters as tensors of a Hugging Face model.

A family lists its tensor mappings; the functions of this file convert in both directions. A mapping
may stand for one tensor per layer of a stack, and its tensor may hold several parameters, as that
of a fused query-key-value map does.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from flax import traverse_util

from f3ocus_jax.types import Params

Path = tuple[str, ...]

ONCE = range(0)
"""Layers of a tensor outside of any stack."""

_BOUNDARY = 64
"""Alignment of XLA's buffers on a CPU, in bytes."""


@dataclasses.dataclass(frozen=True)
class TensorMapping:
    """Mapping between parameters and one tensor, or one tensor per layer.

    Attributes:
      paths: Paths of the parameters in the tensor.
      name: Name of the tensor, with {layer} if there is one per layer.
      to_tensor: Maps the parameters, in the order of `paths`, to the tensor.
      to_parameters: Undoes `to_tensor`.
      layers: Indices of the layers; empty for a tensor outside of any stack.
    """

    paths: tuple[Path, ...]
    name: str
    to_tensor: Callable[..., np.ndarray]
    to_parameters: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    layers: range = ONCE

    @property
    def names(self) -> list[str]:
        """Names of all its tensors."""
        if not self.layers:
            return [self.name]
        return [self.name.format(layer=layer) for layer in self.layers]


def identical(path: Path, name: str, layers: range = ONCE) -> TensorMapping:
    """Maps a parameter to a tensor of the same layout."""
    return TensorMapping((path,), name, lambda value: value, lambda tensor: (tensor,), layers)


def leading_axis(path: Path, name: str) -> TensorMapping:
    """Maps a matrix to a tensor with one more axis in front, of length 1."""
    return TensorMapping((path,), name, lambda value: value[None], lambda tensor: (tensor[0],))


def norm(path: Path, name: str, layers: range = ONCE) -> list[TensorMapping]:
    """Maps the parameters of a LayerNorm."""
    return [
        identical((*path, "scale"), f"{name}.weight", layers),
        identical((*path, "bias"), f"{name}.bias", layers),
    ]


def linear(
    path: Path, name: str, layers: range = ONCE, *, use_bias: bool = True
) -> list[TensorMapping]:
    """Maps the parameters of a linear map, whose matrix is [out, in] in torch."""
    return fused_linear((path,), name, layers, use_bias=use_bias)


def fused_linear(
    paths: Sequence[Path], name: str, layers: range = ONCE, *, use_bias: bool = True
) -> list[TensorMapping]:
    """Maps the parameters of several linear maps to one map, whose outputs are theirs in order."""

    def join(*values: np.ndarray) -> np.ndarray:
        return np.concatenate([kernel.T for kernel in values])

    def split(tensor: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(part.T for part in np.split(tensor, len(paths)))

    def join_bias(*values: np.ndarray) -> np.ndarray:
        return np.concatenate(values)

    def split_bias(tensor: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.split(tensor, len(paths)))

    kernels = tuple((*path, "kernel") for path in paths)
    biases = tuple((*path, "bias") for path in paths)
    weight = TensorMapping(kernels, f"{name}.weight", join, split, layers)
    bias = TensorMapping(biases, f"{name}.bias", join_bias, split_bias, layers)
    return [weight, bias] if use_bias else [weight]


def patch(path: Path, name: str, *, size: int, channels: int) -> list[TensorMapping]:
    """Maps the parameters of a linear map of flattened patches, which is a convolution in torch."""

    def to_tensor(kernel: np.ndarray) -> np.ndarray:
        return kernel.reshape(size, size, channels, -1).transpose(3, 2, 0, 1)

    def to_parameters(tensor: np.ndarray) -> tuple[np.ndarray]:
        # torch's convolution is [out, channel, row, column].
        return (tensor.transpose(2, 3, 1, 0).reshape(size * size * channels, -1),)

    return [
        TensorMapping(((*path, "kernel"),), f"{name}.weight", to_tensor, to_parameters),
        identical((*path, "bias"), f"{name}.bias"),
    ]


def expected_shapes(
    mappings: Sequence[TensorMapping], submodules: Params
) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of all tensors in a Hugging Face checkpoint.

    Args:
      mappings: Tensor mappings of the family.
      submodules: Parameters by submodule, or their shapes.
    """
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), submodules)
    return {name: tensor.shape for name, tensor in stream(mappings, zeros)}


def to_huggingface(mappings: Sequence[TensorMapping], submodules: Params) -> dict[str, np.ndarray]:
    """Converts parameters to tensors.

    Args:
      mappings: Tensor mappings of the family.
      submodules: Parameters by submodule; those without a mapping, such as adapters, are left out.

    Returns:
      Names to arrays.
    """
    return dict(stream(mappings, submodules))


def stream(
    mappings: Sequence[TensorMapping], submodules: Params
) -> Iterator[tuple[str, np.ndarray]]:
    """Converts parameters one tensor after the other; see `to_huggingface`."""
    for mapping in mappings:
        values = [np.asarray(_at(submodules, path)) for path in mapping.paths]
        if not mapping.layers:
            yield mapping.name, mapping.to_tensor(*values)
            continue
        for name, *row in zip(mapping.names, *values, strict=True):
            yield name, mapping.to_tensor(*row)


def from_huggingface(
    mappings: Sequence[TensorMapping],
    tensors: Iterable[tuple[str, np.ndarray]],
    dtype_of: Callable[[Sequence[str]], np.dtype],
) -> Params:
    """Converts tensors to parameters as they come, each straight into its row of a stack.

    Args:
      mappings: Tensor mappings of the family.
      tensors: (name, array) pairs of the expected names and shapes, in any order. All tensors of a
        mapping may be absent.
      dtype_of: Maps the names of a mapping's tensors to the dtype of their parameters.

    Returns:
      Parameters by submodule, without those of absent tensors.
    """
    slots = {name: (one, row) for one in mappings for row, name in enumerate(one.names)}
    filled: dict[Path, np.ndarray] = {}
    for name, tensor in tensors:
        mapping, row = slots[name]
        for path, value in zip(mapping.paths, mapping.to_parameters(tensor), strict=True):
            if path not in filled:
                depth = (len(mapping.layers),) if mapping.layers else ()
                filled[path] = _empty((*depth, *value.shape), dtype_of(mapping.names))
            filled[path][row if mapping.layers else ...] = value
    # XLA takes over memory of its own alignment without a copy.
    return traverse_util.unflatten_dict(
        {path: jax.device_put(filled.pop(path)) for path in list(filled)}
    )


def _empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _BOUNDARY, np.uint8)
    start = -memory.ctypes.data % _BOUNDARY
    return memory[start : start + size].view(dtype).reshape(shape)


def _at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree
