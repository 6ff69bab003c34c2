"""Layers and entries of the head as vectors of numbers, in the order of their arrays' names."""

import math
from collections.abc import Mapping

import numpy as np

from f3ocus_jax.deployment.layout import Layout, TensorSpec, flatten, unflatten
from f3ocus_jax.types import Params, Rows


def row_size(layout: Layout) -> int:
    """Returns the number of numbers of one layer."""
    return _size(layout.row)


def entry_size(layout: Layout, entry: str) -> int:
    """Returns the number of numbers of one entry of the head."""
    return _size(layout.heads[entry])


def entries(layout: Layout) -> list[str]:
    """Returns the entries of the head by name; that at index i is piece L + i of a round."""
    return sorted(layout.heads)


def piece_name(layout: Layout, piece: int) -> str:
    """Returns the name of a piece: "layer 3", or that of an entry of the head."""
    if piece < layout.num_layers:
        return f"layer {piece}"
    return entries(layout)[piece - layout.num_layers]


def row_vectors(rows_R: Rows) -> np.ndarray:
    """Returns layers as one matrix, float32, with one layer a row."""
    named = flatten(rows_R)
    leaves = [np.asarray(named[name], np.float32) for name in sorted(named)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def entry_vector(entry: Params) -> np.ndarray:
    """Returns one entry of the head as a vector, float32."""
    named = flatten(entry)
    return np.concatenate([np.asarray(named[name], np.float32).ravel() for name in sorted(named)])


def rows_of(vectors_L: np.ndarray, layout: Layout) -> Rows:
    """Returns the layers of `row_vectors`."""
    return _split(vectors_L, layout.row)


def entry_of(vector: np.ndarray, layout: Layout, entry: str) -> Params:
    """Returns the entry of the head of `entry_vector`."""
    return _split(vector, layout.heads[entry])


def _split(vectors: np.ndarray, specs: Mapping[str, TensorSpec]) -> Params:
    names = sorted(specs)
    ends = np.cumsum([math.prod(specs[name].shape) for name in names])
    parts = np.split(vectors, ends[:-1], axis=-1)
    shapes = {name: (*vectors.shape[:-1], *specs[name].shape) for name in names}
    return unflatten(
        {name: part.reshape(shapes[name]) for name, part in zip(names, parts, strict=True)}
    )


def _size(specs: Mapping[str, TensorSpec]) -> int:
    return sum(math.prod(spec.shape) for spec in specs.values())
