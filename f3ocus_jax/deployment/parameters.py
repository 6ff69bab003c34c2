"""Some layers and some entries of the head, as messages carry them in either direction."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from f3ocus_jax.deployment import fields as fields_lib
from f3ocus_jax.deployment.fields import Field, Fields, RefusedError
from f3ocus_jax.deployment.layout import Layout, Tensors, TensorSpec, flatten, unflatten
from f3ocus_jax.types import Array, Params, Rows

LAYERS, ROWS, HEAD = "layers", "rows/", "head/"
"""Name of the array of layers; beginnings of the names of rows and of entries of the head."""


@dataclasses.dataclass(frozen=True, eq=False)
class Parameters:
    """Some layers and some entries of the head, by their values.

    Attributes:
      layers_R: int32, indices of the layers, ascending.
      rows_R: The layers.
      head: The entries of the head.
    """

    layers_R: np.ndarray
    rows_R: Rows
    head: Params

    FIELDS: ClassVar[Mapping[str, Field]] = {
        "layers": fields_lib.COUNT,
        "heads": fields_lib.NAMES,
    }

    def fields(self) -> dict[str, Any]:
        """Returns the number of layers and the names of the entries."""
        return {"layers": len(self.layers_R), "heads": sorted(self.head)}

    def tensors(self) -> dict[str, np.ndarray]:
        """Returns the arrays by name."""
        named: dict[str, Array] = {LAYERS: self.layers_R}
        named |= {ROWS + name: leaf for name, leaf in flatten(self.rows_R).items()}
        named |= {HEAD + name: leaf for name, leaf in flatten(self.head).items()}
        return {name: np.asarray(leaf) for name, leaf in named.items()}

    @staticmethod
    def specs(fields: Fields, layout: Layout) -> dict[str, TensorSpec]:
        """Returns the arrays that belong to these fields.

        Raises:
          RefusedError: For more layers than there are, or an unknown entry of the head.
        """
        count = fields["layers"]
        for entry in fields["heads"]:
            if entry not in layout.heads:
                raise RefusedError(f"unknown entry of the head: {fields_lib.quoted(entry)}")
        specs = {LAYERS: layers_spec(count, layout)}
        specs |= {ROWS + name: spec.times(count) for name, spec in layout.row.items()}
        for entry in fields["heads"]:
            of_entry = layout.heads[entry]
            specs |= {f"{HEAD}{entry}/{name}": spec for name, spec in of_entry.items()}
        return specs

    @staticmethod
    def largest(layout: Layout) -> dict[str, Any]:
        """Returns the fields of the whole model."""
        return {"layers": layout.num_layers, "heads": sorted(layout.heads)}

    @classmethod
    def build(cls, tensors: Tensors) -> "Parameters":
        """Makes the parameters from checked arrays.

        Raises:
          RefusedError: If the layers do not ascend.
        """
        require_ascending(tensors[LAYERS])
        rows_R, head = (unflatten(_below(prefix, tensors)) for prefix in (ROWS, HEAD))
        return cls(tensors[LAYERS], rows_R, head)


def layers_spec(count: int, layout: Layout) -> TensorSpec:
    """Returns the array of some indices of layers.

    Raises:
      RefusedError: For more layers than there are.
    """
    if count > layout.num_layers:
        raise RefusedError(f"layers = {count}, must be at most {layout.num_layers}")
    return TensorSpec((count,), "int32", within=(0, layout.num_layers - 1))


def require_ascending(layers_R: np.ndarray) -> None:
    """Raises RefusedError unless indices of layers ascend."""
    if (np.diff(layers_R) <= 0).any():
        raise RefusedError(f"its layers {fields_lib.quoted(layers_R.tolist())} do not ascend")


def _below(prefix: str, tensors: Tensors) -> dict[str, np.ndarray]:
    return {
        name.removeprefix(prefix): array
        for name, array in tensors.items()
        if name.startswith(prefix)
    }
