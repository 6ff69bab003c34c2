"""Which part of a model's parameters a federation tunes, and which stays frozen."""

from typing import Any

import jax

from f3ocus_jax.types import Params, Rows

UNIT_KEYS = {"adapter": "adapters", "block": "blocks"}
"""Where the rows of a selectable unit are in a model's parameters."""


def split(params: Params, unit: str) -> tuple[Params, Rows, Params]:
    """Separates a model's parameters.

    Args:
      params: parameters of a `Model`.
      unit: "adapter" or "block".

    Returns:
      (frozen, rows_L, head): what no client trains, the selectable layers, the answer head.
    """
    frozen = {key: params[key] for key in params if key not in (UNIT_KEYS[unit], "head")}
    return frozen, params[UNIT_KEYS[unit]], params["head"]


def join(frozen: Params, rows_L: Rows, head: Params, unit: str) -> Params:
    """Undoes `split`."""
    return {**frozen, UNIT_KEYS[unit]: rows_L, "head": head}


def block_and_adapter(frozen_row: Rows, row: Rows, unit: str) -> tuple[Rows, Rows]:
    """Orders one layer's trained and frozen part as `Model.block` takes them.

    Args:
      frozen_row: one row of `frozen_rows`.
      row: one row of the selectable layers.
      unit: "adapter" or "block".

    Returns:
      (block, adapter).
    """
    return (frozen_row, row) if unit == "adapter" else (row, frozen_row)


def frozen_rows(frozen: Params, unit: str) -> Rows:
    """Returns the part of every layer that is not trained, leading axis L."""
    return frozen["blocks"] if unit == "adapter" else frozen["adapters"]


def row_at(rows_L: Rows, layer: Any) -> Rows:
    """Returns one row of a stack; `layer` may be traced."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, layer, keepdims=False), rows_L
    )
