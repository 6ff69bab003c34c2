"""Forward and backward pass that keep and differentiate the chosen layers alone.

Reverse mode is written out layer by layer, because autodiff of a scan always pays for every layer.
The forward pass keeps residuals only from the lowest chosen layer upwards; the backward pass ends
there and skips the weight gradient of every layer that is not chosen. The choice is data: another
choice runs the same compiled program.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import units
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blocks import derivatives
from f3ocus_jax.types import Array, Rows


@struct.dataclass
class Choice:
    """Layers that one client trains.

    Attributes:
      layers_R: int32, ascending; slots beyond the client's budget hold L.
    """

    layers_R: Array

    def slots(self, num_layers: int) -> jax.Array:
        """Returns slot_L, int32: index of each layer in the chosen rows; R if it is not chosen."""
        unchosen_L = jnp.full(num_layers, self.layers_R.size, jnp.int32)
        slots_R = jnp.arange(self.layers_R.size, dtype=jnp.int32)
        return unchosen_L.at[self.layers_R].set(slots_R, mode="drop")

    def take(self, rows_L: Rows) -> Rows:
        """Returns the chosen rows; unused slots repeat the last layer."""
        return jax.tree.map(lambda leaf: leaf.at[self.layers_R].get(mode="clip"), rows_L)

    def put(self, rows_L: Rows, rows_R: Rows) -> Rows:
        """Returns all rows with the chosen ones replaced; unused slots are left out."""
        return jax.tree.map(
            lambda leaf, row: leaf.at[self.layers_R].set(row, mode="drop"), rows_L, rows_R
        )


class Stack:
    """Blocks of one model under one client's choice of layers.

    With `skip_frozen`, only the computation that the choice needs is done; see
    `gradient.make_forward`.
    """

    def __init__(
        self,
        model: Model,
        unit: str,
        stacks: tuple[Rows, Rows],
        choice: Choice,
        context: Any,
        skip_frozen: bool,
        rematerialise: bool,
    ) -> None:
        self.model, self.unit, self.stacks, self.context = model, unit, stacks, context
        self.rematerialise = rematerialise
        self.layers_R, self.num_rows = choice.layers_R, choice.layers_R.size
        self.slot_L = choice.slots(model.num_layers)
        self.skip_frozen = skip_frozen
        lowest = jnp.min(choice.layers_R, initial=model.num_layers)
        self.lowest = lowest if skip_frozen else 0

    def parts(self, rows_R: Rows, layer: jax.Array) -> tuple[Rows, Rows]:
        """Returns (frozen part, this client's selectable part) of a layer."""
        frozen_stack, stack = self.stacks
        frozen_row, slot = units.row_at(frozen_stack, layer), self.slot_L[layer]
        is_chosen = slot < self.num_rows

        def shared() -> Rows:
            return units.row_at(stack, layer)

        if not self.num_rows:
            return frozen_row, shared()
        if self.skip_frozen:
            # One copy of a row; selecting from both would make three.
            row = jax.lax.cond(is_chosen, lambda: self.own_row(rows_R, slot), shared)
        else:
            row = jax.tree.map(
                lambda own, common: jnp.where(is_chosen, own, common),
                self.own_row(rows_R, slot),
                shared(),
            )
        return frozen_row, row

    def own_row(self, rows_R: Rows, slot: jax.Array) -> Rows:
        """Returns a chosen row in the precision of the stack; it may be a float32 master copy."""
        return jax.tree.map(
            lambda own, stack: own.astype(stack.dtype),
            units.row_at(rows_R, jnp.minimum(slot, self.num_rows - 1)),
            self.stacks[1],
        )

    def apply(self, frozen_row: Rows, row: Rows, hidden: jax.Array) -> jax.Array:
        """Runs one block."""
        return units.run(self.model, frozen_row, row, self.unit, hidden, self.context)

    def linearised(
        self, rows_R: Rows, layer: jax.Array, hidden: jax.Array
    ) -> tuple[jax.Array, derivatives.Residuals, derivatives.Rebuild]:
        """Runs one block; returns its output, and its derivative in selectable part and input."""
        parts = self.parts(rows_R, layer)
        if self.rematerialise:
            return self.apply(*parts, hidden), [hidden], self.recompute
        output, derivative = self.derivative(parts, hidden)
        residuals, rebuild = derivatives.split_residuals(derivative, (*parts, self.context))
        return output, residuals, rebuild

    def derivative(self, parts: tuple[Rows, Rows], hidden: jax.Array) -> tuple[jax.Array, Any]:
        """Runs one block; returns its output and its transposed derivative."""
        frozen_row, row = parts
        return jax.vjp(lambda row, hidden: self.apply(frozen_row, row, hidden), row, hidden)

    def recompute(self, residuals: derivatives.Residuals, inputs: Any) -> Callable[..., Any]:
        """Recomputes a layer's derivative by running it a second time."""
        frozen_row, row, _ = inputs
        return self.derivative((frozen_row, row), residuals[0])[1]

    def forward(
        self, rows_R: Rows, hidden: jax.Array, buffer_L: Any
    ) -> tuple[jax.Array, Any, derivatives.Rebuild]:
        """Runs all blocks; writes residuals from the lowest chosen layer upwards into a buffer."""
        rebuilds = []

        def plain(layer: jax.Array, hidden: jax.Array) -> jax.Array:
            frozen_row, row = units.row_at(self.stacks, layer)
            return self.apply(frozen_row, row, hidden)

        def saving(layer: jax.Array, state: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
            hidden, saved_L = state
            hidden, residuals, rebuild = self.linearised(rows_R, layer, hidden)
            rebuilds.append(rebuild)
            return hidden, _write_row(saved_L, residuals, layer)

        depth = self.model.num_layers
        hidden = jax.lax.fori_loop(0, self.lowest, plain, hidden)
        hidden, saved_L = jax.lax.fori_loop(self.lowest, depth, saving, (hidden, buffer_L))
        return hidden, saved_L, rebuilds[-1]

    def backward(
        self, rows_R: Rows, cotangent: jax.Array, residuals_L: Any, rebuild: derivatives.Rebuild
    ) -> Rows:
        """Returns the gradient of the chosen rows from that of the last hidden state."""

        def derivative(layer: jax.Array, row: Rows) -> Callable[..., Any]:
            frozen_row = units.row_at(self.stacks[0], layer)
            residuals = units.row_at(residuals_L, layer)
            return rebuild(residuals, (frozen_row, row, self.context))

        gradient_R = jax.tree.map(jnp.zeros_like, rows_R)
        if not self.num_rows:
            return gradient_R
        if self.skip_frozen:
            return self._chosen(rows_R, cotangent, gradient_R, derivative)
        return self._all(rows_R, cotangent, gradient_R, derivative)

    def _chosen(
        self, rows_R: Rows, cotangent: jax.Array, gradient_R: Rows, derivative: Callable[..., Any]
    ) -> Rows:
        """Differentiates the chosen layers, and passes through the frozen ones in between."""
        count = jnp.sum(self.layers_R < self.model.num_layers)

        def through(top: jax.Array) -> Callable[[jax.Array, jax.Array], jax.Array]:
            def step(index: jax.Array, cotangent: jax.Array) -> jax.Array:
                layer = top - index
                row = units.row_at(self.stacks[1], layer)
                # The unused weight gradient is dead code, which XLA removes.
                return derivative(layer, row)(cotangent)[1]

            return step

        def step(index: jax.Array, state: tuple[jax.Array, Any, Rows]) -> tuple:
            top, cotangent, gradient_R = state
            slot = count - 1 - index
            layer = self.layers_R[slot]
            cotangent = jax.lax.fori_loop(0, top - layer, through(top), cotangent)
            row_gradient, cotangent = derivative(layer, self.own_row(rows_R, slot))(cotangent)
            return layer - 1, cotangent, _write_row(gradient_R, row_gradient, slot)

        top = jnp.int32(self.model.num_layers - 1)
        return jax.lax.fori_loop(0, count, step, (top, cotangent, gradient_R))[2]

    def _all(
        self, rows_R: Rows, cotangent: jax.Array, gradient_R: Rows, derivative: Callable[..., Any]
    ) -> Rows:
        """Differentiates every layer, since clients under `vmap` have chosen different ones."""
        depth = self.model.num_layers

        def step(index: jax.Array, state: tuple[jax.Array, Rows]) -> tuple[jax.Array, Rows]:
            layer = depth - 1 - index
            cotangent, gradient_R = state
            _, row = self.parts(rows_R, layer)
            row_gradient, cotangent = derivative(layer, row)(cotangent)
            # A layer that is not chosen writes to slot R, which is out of bounds and is dropped.
            slot = self.slot_L[layer]
            gradient_R = jax.tree.map(
                lambda all, one: all.at[slot].set(one.astype(all.dtype), mode="drop"),
                gradient_R,
                row_gradient,
            )
            return cotangent, gradient_R

        return jax.lax.fori_loop(0, depth, step, (cotangent, gradient_R))[1]


def _write_row(rows: Any, row: Any, index: jax.Array) -> Any:
    """Writes one row into a stack, without a copy where a loop carries it."""
    return jax.tree.map(
        lambda all, one: jax.lax.dynamic_update_index_in_dim(
            all, one.astype(all.dtype), index, axis=0
        ),
        rows,
        row,
    )
