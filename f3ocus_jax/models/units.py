"""Units of training: the parameters of a selectable layer that a federation tunes.

The row of a layer is the adapter in its block, the block itself, some of its parameters, a low-rank
change of it, or a prompt. Everything else works on rows and does not know the unit.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import traverse_util

from f3ocus_jax.models import base
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import lora
from f3ocus_jax.models.huggingface.layout import Path
from f3ocus_jax.types import Params, Rows


@dataclasses.dataclass(frozen=True)
class Unit:
    """Parameters in the row of a layer.

    Attributes:
      key: Key of a model's parameters that holds them, one of `base.ROW_KEYS`.
      has: Maps the path of a parameter below that key to True if the row has it; None for all.
    """

    key: str
    has: Callable[[Path], bool] | None = None


def _of_norm(path: Path) -> bool:
    return any(part.endswith("norm") for part in path)


def _is_bias(path: Path) -> bool:
    return path[-1] == "bias"


MIXED = "mixed"

UNITS: Mapping[str, Unit] = {
    "adapter": Unit("adapters"),
    "bias": Unit("blocks", _is_bias),
    "block": Unit("blocks"),
    "lora": Unit("lora"),
    MIXED: Unit("adapters", lambda path: path[0] == "personal"),
    "norm": Unit("blocks", _of_norm),
    "prompt": Unit("adapters"),
}
"""Units by the name in `config.training.unit`.

"prompt" is for a model of `prompts.make_prompted_model`. "mixed", the personal one of two adapters
that run in parallel, is for `clients.feddat`, and no run names it."""

TRAINED_UNITS = tuple(name for name in UNITS if name != MIXED)
"""Units that `config.training.unit` takes."""


def split(params: Params, unit: str) -> tuple[Params, Rows, Params]:
    """Separates a model's trained parameters from the frozen ones.

    Args:
      params: Parameters of a `Model`.
      unit: A key of `UNITS`.

    Returns:
      (frozen, rows_L, head): the parameters that no client trains, those of the selectable layers,
      and the heads.

    Raises:
      ValueError: If the selectable blocks have no such parameters.
    """
    kind = UNITS[unit]
    frozen = {key: params[key] for key in params if key not in (kind.key, "head")}
    whole = params.get(kind.key, {})
    if kind.has is None:
        rows_L = whole
    else:
        flat = traverse_util.flatten_dict(whole)
        chosen = {path for path in flat if kind.has(path)}
        rows_L = traverse_util.unflatten_dict({path: flat[path] for path in chosen})
        others = {path: flat[path] for path in flat if path not in chosen}
        frozen[kind.key] = traverse_util.unflatten_dict(others)
    if not jax.tree.leaves(rows_L):
        raise ValueError(f"the selectable blocks of this model have no {unit}")
    return frozen, rows_L, params["head"]


def join(frozen: Params, rows_L: Rows, head: Params, unit: str) -> Params:
    """Undoes `split`."""
    return {**_together(frozen, rows_L, unit), "head": head}


def run(
    model: Model, frozen_row: Params, row: Rows, unit: str, hidden: jax.Array, context: Any
) -> jax.Array:
    """Runs one block.

    Args:
      model: The model.
      frozen_row: One row of `frozen_rows`.
      row: One row of the selectable layers.
      unit: A key of `UNITS`.
      hidden: hidden_BTD, input of the block.
      context: Context of `Model.embed`.

    Returns:
      hidden_BTD.
    """
    return base.run_block(model, _together(frozen_row, row, unit), hidden, context)


def frozen_rows(frozen: Params) -> Params:
    """Returns the frozen parameters of every layer, leading axis L."""
    return {key: frozen[key] for key in base.ROW_KEYS if key in frozen}


def row_at(rows_L: Rows, layer: Any) -> Rows:
    """Returns one row of a stack; `layer` may be traced."""
    return jax.tree.map(
        lambda leaf: jax.lax.dynamic_index_in_dim(leaf, layer, keepdims=False), rows_L
    )


def merged(params: Params) -> Params:
    """Returns a model's parameters with its low-rank changes, if any, merged into its blocks."""
    if "lora" not in params:
        return params
    others = {key: params[key] for key in params if key != "lora"}
    return {**others, "blocks": lora.merge(params["blocks"], params["lora"])}


def _together(frozen: Params, rows: Rows, unit: str) -> Params:
    """Inserts rows into the frozen parameters."""
    key = UNITS[unit].key
    if key not in frozen:
        return {**frozen, key: rows}
    # Arrays are not copied: derivatives tell weights from residuals by their identity.
    flat = traverse_util.flatten_dict(frozen[key]) | traverse_util.flatten_dict(rows)
    return {**frozen, key: traverse_util.unflatten_dict(flat)}
