"""How do tensors of a Hugging Face model become parameters of ours, and back?

A family lists its kinds of tensor; the functions of this file do the rest. A kind may be there once
per layer of a stack, and may hold several of our parameters, as a fused query-key-value map does.
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
"""For a tensor outside of any stack."""

_BOUNDARY = 64
"""Bytes that the addresses of XLA's buffers on a CPU are multiples of."""


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One kind of tensor.

    Attributes:
      paths: of the parameters it holds.
      name: theirs, with {layer} where it is there once per layer.
      to_theirs: makes it from our parameters, in the order of `paths`.
      to_ours: undoes it.
      layers: the numbers of these layers; empty for a tensor outside of any stack.
    """

    paths: tuple[Path, ...]
    name: str
    to_theirs: Callable[..., np.ndarray]
    to_ours: Callable[[np.ndarray], tuple[np.ndarray, ...]]
    layers: range = ONCE

    @property
    def names(self) -> list[str]:
        """All of its names."""
        if not self.layers:
            return [self.name]
        return [self.name.format(layer=layer) for layer in self.layers]


def same(path: Path, name: str, layers: range = ONCE) -> Tensor:
    """A tensor that both lay out alike."""
    return Tensor((path,), name, lambda ours: ours, lambda theirs: (theirs,), layers)


def leading_axis(path: Path, name: str) -> Tensor:
    """A matrix that has one more axis there, of length 1, in front."""

    return Tensor((path,), name, lambda ours: ours[None], lambda theirs: (theirs[0],))


def norm(path: Path, name: str, layers: range = ONCE) -> list[Tensor]:
    """The two tensors of a LayerNorm."""
    return [
        same((*path, "scale"), f"{name}.weight", layers),
        same((*path, "bias"), f"{name}.bias", layers),
    ]


def linear(path: Path, name: str, layers: range = ONCE, *, use_bias: bool = True) -> list[Tensor]:
    """The tensors of a linear map, whose matrix torch keeps as [out, in]."""
    return fused_linear((path,), name, layers, use_bias=use_bias)


def fused_linear(
    paths: Sequence[Path], name: str, layers: range = ONCE, *, use_bias: bool = True
) -> list[Tensor]:
    """The tensors of several of our linear maps that are one map there, its outputs in order."""

    def join(*ours: np.ndarray) -> np.ndarray:
        return np.concatenate([kernel.T for kernel in ours])

    def split(theirs: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(part.T for part in np.split(theirs, len(paths)))

    def join_bias(*ours: np.ndarray) -> np.ndarray:
        return np.concatenate(ours)

    def split_bias(theirs: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(np.split(theirs, len(paths)))

    kernels = tuple((*path, "kernel") for path in paths)
    biases = tuple((*path, "bias") for path in paths)
    weight = Tensor(kernels, f"{name}.weight", join, split, layers)
    return [weight, Tensor(biases, f"{name}.bias", join_bias, split_bias, layers)][: 1 + use_bias]


def patch(path: Path, name: str, *, size: int, channels: int) -> list[Tensor]:
    """The tensors of our map over flattened patches, which is a convolution there."""

    def to_theirs(ours: np.ndarray) -> np.ndarray:
        return ours.reshape(size, size, channels, -1).transpose(3, 2, 0, 1)

    def to_ours(theirs: np.ndarray) -> tuple[np.ndarray]:
        # torch's convolution is [out, channel, row, column].
        return (theirs.transpose(2, 3, 1, 0).reshape(size * size * channels, -1),)

    return [
        Tensor(((*path, "kernel"),), f"{name}.weight", to_theirs, to_ours),
        same((*path, "bias"), f"{name}.bias"),
    ]


def expected_shapes(kinds: Sequence[Tensor], parts: Params) -> dict[str, tuple[int, ...]]:
    """Returns the names and shapes of all tensors, as Hugging Face has them.

    Args:
      kinds: of the family.
      parts: parameters, or their shapes.
    """
    zeros = jax.tree.map(lambda leaf: np.broadcast_to(np.float32(0), leaf.shape), parts)
    return {name: tensor.shape for name, tensor in _to_huggingface(kinds, zeros)}


def to_huggingface(kinds: Sequence[Tensor], parts: Params) -> dict[str, np.ndarray]:
    """Converts parameters.

    Args:
      kinds: of the family.
      parts: parameters; those of no kind, such as adapters, are left out.

    Returns:
      Names to arrays.
    """
    return dict(stream(kinds, parts))


def stream(kinds: Sequence[Tensor], parts: Params) -> Iterator[tuple[str, np.ndarray]]:
    """Converts parameters one tensor after the other; see `to_huggingface`."""
    return _to_huggingface(kinds, parts)


def from_huggingface(
    kinds: Sequence[Tensor],
    theirs: Iterable[tuple[str, np.ndarray]],
    dtype_of: Callable[[Sequence[str]], np.dtype],
) -> Params:
    """Converts tensors as they come, each straight into its place in a stack.

    Args:
      kinds: of the family.
      theirs: (name, array) pairs of the expected names and shapes, in any order; a kind may be
        absent.
      dtype_of: names of the tensors of one kind -> the dtype of the parameters they become.

    Returns:
      Parameters of the kinds that are there.
    """
    places = {name: (kind, row) for kind in kinds for row, name in enumerate(kind.names)}
    filled: dict[Path, np.ndarray] = {}
    for name, value in theirs:
        kind, row = places[name]
        for path, ours in zip(kind.paths, kind.to_ours(value), strict=True):
            if path not in filled:
                depth = (len(kind.layers),) if kind.layers else ()
                filled[path] = _empty((*depth, *ours.shape), dtype_of(kind.names))
            filled[path][row if kind.layers else ...] = ours
    # Memory on the boundary that XLA wants is taken over as it is, not copied.
    return traverse_util.unflatten_dict(
        {path: jax.device_put(filled.pop(path)) for path in list(filled)}
    )


def _empty(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _BOUNDARY, np.uint8)
    start = -memory.ctypes.data % _BOUNDARY
    return memory[start : start + size].view(dtype).reshape(shape)


def _to_huggingface(kinds: Sequence[Tensor], parts: Params) -> Iterator[tuple[str, np.ndarray]]:
    for kind in kinds:
        values = [np.asarray(_at(parts, path)) for path in kind.paths]
        if not kind.layers:
            yield kind.name, kind.to_theirs(*values)
            continue
        for name, *row in zip(kind.names, *values, strict=True):
            yield name, kind.to_theirs(*row)


def _at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree
