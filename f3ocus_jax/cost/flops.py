"""How many FLOPs does a function or a training step take? Counted from the trace, nothing runs."""

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from f3ocus_jax.models import units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows


def count_flops(function: Callable[..., Any], *args: Any) -> float:
    """Counts the operations of matrix products and convolutions in one call.

    Unlike XLA's cost analysis it multiplies the body of a scan by its length, and takes of a
    `cond` the dearest branch. Elementwise work and reductions are left out: of a ViLT-B/32 they
    are 1.5 % of XLA's count.

    Args:
      function: what jax can trace.
      *args: its arguments, or their shapes.

    Returns:
      Operations; a multiplication and an addition are two.

    Raises:
      ValueError: if a while loop of unknown length holds counted operations.
    """
    return _jaxpr_flops(jax.make_jaxpr(function)(*args).jaxpr)


def peak_bytes(function: Callable[..., Any], *args: Any) -> float:
    """Bounds the memory of a function's intermediate results from its trace.

    Args:
      function: what jax can trace.
      *args: its arguments, or their shapes.

    Returns:
      Bytes that are alive at once if nothing is fused, without arguments and constants.
    """
    return _jaxpr_bytes(jax.make_jaxpr(function)(*args).jaxpr)


@dataclasses.dataclass(frozen=True)
class StepFlops:
    """FLOPs of the parts of a training step per example, from which any choice of layers adds up.

    Attributes:
      num_layers: L.
      forward: embeddings, all L blocks, readout and head.
      readout_backward: of readout and head, down to the last hidden states.
      head_backward: the part of it for the head's weights alone.
      through: one frozen block, from its output's gradient to its input's.
      through_and_rows: the same and the gradient of the block's trainable row.
      rows: the row's gradient alone, in the lowest trained layer.
    """

    num_layers: int
    forward: float
    readout_backward: float
    head_backward: float
    through: float
    through_and_rows: float
    rows: float

    def beside(self, other: "StepFlops") -> "StepFlops":
        """Returns the parts of a step that takes both of two steps, of the same layers."""
        parts = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in dataclasses.fields(self)
        }
        return StepFlops(**parts | {"num_layers": self.num_layers})

    def training(self, mask_L: np.ndarray) -> float:
        """Adds up one training step.

        Args:
          mask_L: bool, the layers that are trained.

        Returns:
          FLOPs per example: forward of everything, backward of the hidden states down to the
          lowest trained layer, weight gradients of the trained layers and of the head.
        """
        chosen = np.flatnonzero(np.asarray(mask_L))
        if len(chosen) == 0:
            return self.forward + self.head_backward
        trained_above = len(chosen) - 1
        frozen_above = self.num_layers - 1 - int(chosen[0]) - trained_above
        return (
            self.forward
            + self.readout_backward
            + self.through * frozen_above
            + self.through_and_rows * trained_above
            + self.rows
        )


def training_flops(
    model: Model, params: Params, batch: Batch, mask_L: np.ndarray, unit: str
) -> float:
    """Counts the FLOPs of one training step per example; nothing is computed, only traced.

    Args:
      model: the model.
      params: its parameters, or their shapes.
      batch: B examples.
      mask_L: bool, the layers that are trained.
      unit: a key of `trainable.UNITS`, what a layer's trainable row is.

    Returns:
      Matrix products and convolutions, in operations (a multiplication and an addition are two).

    Raises:
      ValueError: if there is no such unit, or the model has none.
    """
    return step_flops(model, params, batch, unit).training(mask_L)


def step_flops(model: Model, params: Params, batch: Batch, unit: str) -> StepFlops:
    """Counts the parts of a training step once, for any choice of layers.

    Args:
      model: the model.
      params: its parameters, or their shapes.
      batch: B examples.
      unit: a key of `trainable.UNITS`, what a layer's trainable row is.

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
    of_block = (row, hidden_BTD, frozen_row, context)
    of_readout = (head, hidden_BTD, params["readout"], context)
    forward = (
        count_flops(model.embed, params["embeddings"], batch)
        + model.num_layers * count_flops(block, *of_block)
        + count_flops(readout, *of_readout)
    )
    examples = batch.labels_B.shape[0]
    return StepFlops(
        num_layers=model.num_layers,
        forward=forward / examples,
        readout_backward=_backward_flops(readout, (0, 1), of_readout) / examples,
        head_backward=_backward_flops(readout, (0,), of_readout) / examples,
        through=_backward_flops(block, (1,), of_block) / examples,
        through_and_rows=_backward_flops(block, (0, 1), of_block) / examples,
        rows=_backward_flops(block, (0,), of_block) / examples,
    )


def _row_shapes(rows_L: Rows) -> Rows:
    """Returns the shapes of one row of a stack."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows_L)


def _backward_flops(
    function: Callable[..., Any], with_respect_to: Sequence[int], arguments: Sequence[Any]
) -> float:
    """Counts what the gradient adds to the forward pass of a function.

    Args:
      function: traced by jax.
      with_respect_to: positions of the arguments whose gradient is taken.
      arguments: all arguments, or their shapes.
    """

    def pullback(cotangent: Any, *arguments: Any) -> Any:
        def of_chosen(*chosen: Any) -> Any:
            filled = list(arguments)
            for position, value in zip(with_respect_to, chosen, strict=True):
                filled[position] = value
            return function(*filled)

        return jax.vjp(of_chosen, *(arguments[i] for i in with_respect_to))[1](cotangent)

    cotangent = jax.eval_shape(function, *arguments)
    return count_flops(pullback, cotangent, *arguments) - count_flops(function, *arguments)


def _jaxpr_flops(jaxpr: core.Jaxpr) -> float:
    """Adds up the equations of a trace and of the traces inside it."""
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: core.JaxprEqn) -> float:
    """Counts one equation."""
    name = equation.primitive.name
    if name == "dot_general":
        return _dot_flops(equation)
    if name == "conv_general_dilated":
        return _convolution_flops(equation)
    inner = [_jaxpr_flops(jaxpr) for jaxpr in _inner_jaxprs(equation)]
    if name == "cond":
        return max(inner)
    if name == "scan":
        return float(equation.params["length"]) * sum(inner)
    if name == "while" and sum(inner) > 0:
        raise ValueError(
            "a while loop holds matrix products, and its trace does not tell how often it runs: "
            "use jax.lax.scan, or jax.lax.fori_loop with bounds that are Python integers"
        )
    return sum(inner)


def _jaxpr_bytes(jaxpr: core.Jaxpr) -> float:
    """Follows the results of a trace from their equation to their last use."""
    last: dict[Any, int] = {}
    for place, equation in enumerate(jaxpr.eqns):
        last.update({atom: place for atom in equation.invars if isinstance(atom, core.Var)})
    last.update({atom: len(jaxpr.eqns) for atom in jaxpr.outvars if isinstance(atom, core.Var)})
    alive: dict[Any, float] = {}
    most = 0.0
    for place, equation in enumerate(jaxpr.eqns):
        inner = max(map(_jaxpr_bytes, _inner_jaxprs(equation)), default=0.0)
        for out in equation.outvars:
            alive[out] = float(math.prod(_shape(out)) * _itemsize(out))
        most = max(most, sum(alive.values()) + inner)
        for var in [var for var in alive if last.get(var, -1) <= place]:
            del alive[var]
    return most


def _inner_jaxprs(equation: core.JaxprEqn) -> Iterator[core.Jaxpr]:
    """Yields the traces among an equation's parameters (jit, remat, custom rules, loops)."""
    for value in equation.params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def _itemsize(variable: Any) -> int:
    """Returns the bytes of one element of a variable of a trace."""
    return variable.aval.dtype.itemsize


def _shape(variable: Any) -> tuple[int, ...]:
    """Returns the shape of a variable of a trace."""
    return variable.aval.shape


def _dot_flops(equation: core.JaxprEqn) -> float:
    """Counts a matrix product: two operations per output element and contracted element."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    lhs_shape = _shape(equation.invars[0])
    summed = math.prod(lhs_shape[axis] for axis in contracted)
    return 2.0 * summed * math.prod(_shape(equation.outvars[0]))


def _convolution_flops(equation: core.JaxprEqn) -> float:
    """Counts a convolution; taps that fall on padding or dilation zeros cost nothing, as in XLA."""
    parameters = equation.params
    numbers = parameters["dimension_numbers"]
    lhs_shape, rhs_shape = map(_shape, equation.invars)
    out_shape = _shape(equation.outvars[0])
    taps = 1
    for axis, (lhs_axis, rhs_axis, out_axis) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.rhs_spec[2:], numbers.out_spec[2:], strict=True)
    ):
        out_positions = np.arange(out_shape[out_axis]) * parameters["window_strides"][axis]
        kernel_positions = np.arange(rhs_shape[rhs_axis]) * parameters["rhs_dilation"][axis]
        positions = np.add.outer(out_positions, kernel_positions) - parameters["padding"][axis][0]
        dilation = parameters["lhs_dilation"][axis]
        last = (lhs_shape[lhs_axis] - 1) * dilation
        taps *= int(((positions >= 0) & (positions <= last) & (positions % dilation == 0)).sum())
    outputs = out_shape[numbers.out_spec[0]] * out_shape[numbers.out_spec[1]]
    return 2.0 * outputs * rhs_shape[numbers.rhs_spec[1]] * taps
