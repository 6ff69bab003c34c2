"""FLOPs of a training step, counted from its trace for any choice of layers."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from f3ocus_jax.cost.jaxpr_counts import count_flops
from f3ocus_jax.models import units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows


@dataclasses.dataclass(frozen=True)
class StepFlops:
    """FLOPs per example of the parts of a training step.

    Attributes:
      num_layers: L, number of selectable layers.
      forward: Forward pass of embeddings, all L blocks, readout and head.
      readout_backward: Backward pass of readout and head, down to the last hidden states.
      head_backward: Weight gradient of the head alone.
      frozen_head_backward: Backward pass of readout and head, without the head's weight gradient.
      frozen_block_backward: Backward pass of one frozen block, to the gradient of its input.
      trained_block_backward: Backward pass of one trained block, to the gradients of its input and
        its trainable row.
      row_backward: Gradient of the trainable row alone, in the lowest trained layer.
    """

    num_layers: int
    forward: float
    readout_backward: float
    head_backward: float
    frozen_head_backward: float
    frozen_block_backward: float
    trained_block_backward: float
    row_backward: float

    def plus(self, other: "StepFlops") -> "StepFlops":
        """Returns the sum of two steps with the same number of layers."""
        parts = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
        }
        return StepFlops(**parts | {"num_layers": self.num_layers})

    def training(self, mask_L: np.ndarray, *, trains_head: bool = True) -> float:
        """Returns the FLOPs of one training step.

        Args:
          mask_L: bool, True for the trained layers.
          trains_head: False for a head that is frozen.

        Returns:
          FLOPs per example: forward of everything, backward of the hidden states down to the
          lowest trained layer, weight gradients of the trained layers and of a trained head.
        """
        chosen = np.flatnonzero(np.asarray(mask_L))
        if len(chosen) == 0:
            return self.forward + trains_head * self.head_backward
        trained_above = len(chosen) - 1
        frozen_above = self.num_layers - 1 - int(chosen[0]) - trained_above
        return (
            self.forward
            + (self.readout_backward if trains_head else self.frozen_head_backward)
            + self.frozen_block_backward * frozen_above
            + self.trained_block_backward * trained_above
            + self.row_backward
        )


def training_flops(
    model: Model, params: Params, batch: Batch, mask_L: np.ndarray, unit: str
) -> float:
    """Counts the FLOPs of one training step per example; nothing is computed, only traced.

    Args:
      model: Model to count.
      params: Parameters of the model, or their shapes.
      batch: B examples.
      mask_L: bool, True for the trained layers.
      unit: Key of `units.UNITS`, the trainable part of a layer.

    Returns:
      Matrix products and convolutions, in operations (a multiplication and an addition are two).

    Raises:
      ValueError: if there is no such unit, or the model has none.
    """
    return step_flops(model, params, batch, unit).training(mask_L)


def step_flops(model: Model, params: Params, batch: Batch, unit: str) -> StepFlops:
    """Counts the parts of a training step once, for any choice of layers.

    Args:
      model: Model to count.
      params: Parameters of the model, or their shapes.
      batch: B examples.
      unit: Key of `units.UNITS`, the trainable part of a layer.

    Returns:
      The parts, per example.

    Raises:
      ValueError: if there is no such unit, or the model has none.
    """
    if unit not in units.UNITS:
        raise ValueError(f"training.unit is {unit!r}; it must be one of {sorted(units.UNITS)}")
    frozen, rows_L, head = units.split(params, unit)
    hidden_BTD, context = jax.eval_shape(model.embed, params["embeddings"], batch)

    def block(row: Rows, hidden_BTD: jax.Array, frozen_row: Rows, context: Any) -> jax.Array:
        return units.run(model, frozen_row, row, unit, hidden_BTD, context)

    def readout(head: Params, hidden_BTD: jax.Array, weights: Params, context: Any) -> jax.Array:
        return model.readout(weights, head, hidden_BTD, context)

    row, frozen_row = _row_shapes(rows_L), _row_shapes(units.frozen_rows(frozen))
    block_args = (row, hidden_BTD, frozen_row, context)
    readout_args = (head, hidden_BTD, params["readout"], context)
    forward = (
        count_flops(model.embed, params["embeddings"], batch)
        + model.num_layers * count_flops(block, *block_args)
        + count_flops(readout, *readout_args)
    )
    examples = batch.labels_B.shape[0]
    return StepFlops(
        num_layers=model.num_layers,
        forward=forward / examples,
        readout_backward=_backward_flops(readout, (0, 1), readout_args) / examples,
        head_backward=_backward_flops(readout, (0,), readout_args) / examples,
        frozen_head_backward=_backward_flops(readout, (1,), readout_args) / examples,
        frozen_block_backward=_backward_flops(block, (1,), block_args) / examples,
        trained_block_backward=_backward_flops(block, (0, 1), block_args) / examples,
        row_backward=_backward_flops(block, (0,), block_args) / examples,
    )


def _row_shapes(rows_L: Rows) -> Rows:
    """Returns the shapes of one row of a stack."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows_L)


def _backward_flops(
    function: Callable[..., Any], with_respect_to: Sequence[int], arguments: Sequence[Any]
) -> float:
    """Counts the backward pass of a function, without its forward pass.

    Args:
      function: Function that JAX can trace.
      with_respect_to: Positions of the arguments whose gradient is taken.
      arguments: All arguments, or their shapes.
    """

    def pullback(cotangent: Any, *arguments: Any) -> Any:
        def partial(*chosen: Any) -> Any:
            filled = list(arguments)
            for position, value in zip(with_respect_to, chosen, strict=True):
                filled[position] = value
            return function(*filled)

        return jax.vjp(partial, *(arguments[i] for i in with_respect_to))[1](cotangent)

    cotangent = jax.eval_shape(function, *arguments)
    return count_flops(pullback, cotangent, *arguments) - count_flops(function, *arguments)
