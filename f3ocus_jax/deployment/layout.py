"""Names, shapes and types of the arrays that messages may hold."""

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeAlias

import jax
import numpy as np
from flax import traverse_util

from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.types import Array, Params, Rows

SEPARATOR = "/"

Tensors: TypeAlias = Mapping[str, np.ndarray]
"""Arrays of a message by name."""


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """One array of a message.

    Attributes:
      shape: Its shape.
      dtype: NumPy's name of its type.
      finite: False if it may hold NaN and infinity.
      within: Smallest and largest number that it may hold; None for any.
    """

    shape: tuple[int, ...]
    dtype: str
    finite: bool = True
    within: tuple[int, int] | None = None

    @property
    def num_bytes(self) -> int:
        """Size of the numbers."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def times(self, count: int) -> "TensorSpec":
        """Returns the same with a leading axis."""
        return dataclasses.replace(self, shape=(count, *self.shape))


@dataclasses.dataclass(frozen=True)
class Layout:
    """What server and sites know of each other's arrays before the first message.

    Attributes:
      num_layers: L.
      row: Arrays of one layer, by name.
      heads: Arrays of each entry of the head, by entry and name.
      key: Data of a random key.
      has_eigenvalues: True if scores come with residuals.
      most_steps: Largest number of local steps in a round.
      masked: NumPy's name of the type of masked numbers, see `secure`.
    """

    num_layers: int
    row: Mapping[str, TensorSpec]
    heads: Mapping[str, Mapping[str, TensorSpec]]
    key: TensorSpec
    has_eigenvalues: bool
    most_steps: int
    masked: str = "uint32"


def make_layout(config: ExperimentConfig, rows_L: Rows, head: Params) -> Layout:
    """Describes the arrays of a run.

    Args:
      config: Settings of the run.
      rows_L: Selectable layers, with leading axis L.
      head: Answer head, by entry.
    """
    key = jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0)))
    return Layout(
        num_layers=jax.tree.leaves(rows_L)[0].shape[0],
        row={name: _spec(leaf[0]) for name, leaf in flatten(rows_L).items()},
        heads={
            entry: {name: _spec(leaf) for name, leaf in flatten(params).items()}
            for entry, params in head.items()
        },
        key=TensorSpec(key.shape, str(key.dtype)),
        has_eigenvalues=config.importance.score == "lntk",
        most_steps=config.training.max_local_steps,
        masked=f"uint{config.secure_aggregation.bits}",
    )


def flatten(tree: Params) -> dict[str, Array]:
    """Returns the arrays of nested dicts by their joined names."""
    return traverse_util.flatten_dict(tree, sep=SEPARATOR)


def unflatten(arrays: Mapping[str, Array]) -> Params:
    """Returns nested dicts from arrays by their joined names."""
    return traverse_util.unflatten_dict(dict(arrays), sep=SEPARATOR)


def _spec(leaf: Array) -> TensorSpec:
    return TensorSpec(tuple(leaf.shape), str(leaf.dtype))
