"""Cost of one layer in the unit of a client's budget: layers, bytes or FLOPs."""

import numpy as np

from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.cost.traffic import row_parameters
from f3ocus_jax.types import Rows

BYTES_PER_PARAMETER = 4


def layer_costs(unit: str, rows_L: Rows, step_flops: StepFlops) -> np.ndarray:
    """Returns the part of a budget that each layer takes.

    Args:
      unit: Key of `BUDGET_UNITS`.
      rows_L: Selectable layers; shapes suffice.
      step_flops: Operations of a step of the model.

    Returns:
      costs_L, float64.
    """
    return BUDGET_UNITS[unit](row_parameters(rows_L).astype(np.float64), step_flops)


def _layers(parameters_L: np.ndarray, step_flops: StepFlops) -> np.ndarray:
    """Returns 1 for every layer."""
    return np.ones_like(parameters_L)


def _bytes(parameters_L: np.ndarray, step_flops: StepFlops) -> np.ndarray:
    """Returns the float32 bytes that travel up."""
    return BYTES_PER_PARAMETER * parameters_L


def _flops(parameters_L: np.ndarray, step_flops: StepFlops) -> np.ndarray:
    """Returns the weight gradient's operations per example."""
    return np.full_like(parameters_L, step_flops.row_backward)


BUDGET_UNITS = {"layers": _layers, "bytes": _bytes, "flops": _flops}
"""Units of `config.federated.budgets` by name: (parameters_L, operations of a step) -> costs_L."""
