"""The derivatives of a network, every block linearised once at the input that it received.

A product with layer l's kernel is a pull-back of cotangents from the outputs to layer l and a
push-forward of tangents from layer l to the outputs. The blocks' derivatives are kept as data, so
that neither pass repeats the network itself, and layer l pays only for the blocks above it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.importance.network import Network
from f3ocus_jax.models import units
from f3ocus_jax.models.blocks import derivatives
from f3ocus_jax.types import Rows

RowMaps = tuple[Callable[[jax.Array], Rows], Callable[[Rows], jax.Array]]
"""(cotangent of a block's output -> cotangent of its row, tangent of the row -> tangent of the
output)."""


class LinearisedNetwork:
    """The derivatives of a network around its batch; made and used within one trace.

    Attributes:
      network: The network.
      inputs_L: Inputs of all blocks, leading axis L.
      residuals_L: Residuals of all blocks' derivatives, leading axis L.
      outputs: Outputs of the network, float32, [N, ...].
    """

    def __init__(self, network: Network) -> None:
        self.network = network

        def step(hidden: jax.Array, layer: jax.Array) -> tuple[jax.Array, Any]:
            rows = network.rows_at(layer)
            output, derivative = jax.linearize(
                lambda hidden: network.block(*rows, hidden, network.context), hidden
            )
            inputs = (rows, network.context)
            residuals, self._rebuild = derivatives.split_residuals(derivative, inputs)
            return output, (hidden, residuals)

        hidden = network.hidden.astype(jnp.float32)
        layers_L = jnp.arange(network.num_layers)
        hidden, (self.inputs_L, self.residuals_L) = jax.lax.scan(step, hidden, layers_L)
        self.outputs, self._push_readout = jax.linearize(
            lambda hidden: network.readout(hidden).astype(jnp.float32), hidden
        )
        self._pull_readout = jax.linear_transpose(self._push_readout, hidden)

    @property
    def num_layers(self) -> int:
        """L."""
        return self.network.num_layers

    def push_through_readout(self, tangent: jax.Array) -> jax.Array:
        """Pushes a tangent of the last block's output forward to the outputs."""
        return self._push_readout(tangent)

    def pull_through_readout(self, cotangent: jax.Array) -> jax.Array:
        """Pulls a cotangent of the outputs back to the last block's output."""
        return self._pull_readout(cotangent)[0]

    def push_through_block(self, layer: Any, tangent: jax.Array) -> jax.Array:
        """Pushes a tangent of a block's input forward to its output."""
        return self._derivative(layer)(tangent)

    def pull_through_block(self, layer: Any, cotangent: jax.Array) -> jax.Array:
        """Pulls a cotangent of a block's output back to its input."""
        return jax.linear_transpose(self._derivative(layer), cotangent)(cotangent)[0]

    def row_maps(self, layer: Any) -> RowMaps:
        """Returns the derivative of a block's output in its own parameters; transpose first."""
        row, frozen_row = self.network.rows_at(layer)
        hidden = units.row_at(self.inputs_L, layer)

        def output(row: Rows) -> jax.Array:
            return self.network.block(row, frozen_row, hidden, self.network.context)

        _, push_row = jax.linearize(output, row)
        pull_row = jax.linear_transpose(push_row, row)
        return lambda cotangent: pull_row(cotangent)[0], push_row

    def kernel_product(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns v -> Θ_l v for one layer, which may be traced; v is shaped as the outputs."""
        pull_row, push_row = self.row_maps(layer)
        last = self.num_layers - 1

        def product(vector: jax.Array) -> jax.Array:
            hidden = self.pull_through_readout(vector)
            hidden = jax.lax.fori_loop(
                0, last - layer, lambda i, h: self.pull_through_block(last - i, h), hidden
            )
            hidden = push_row(pull_row(hidden))
            hidden = jax.lax.fori_loop(layer + 1, last + 1, self.push_through_block, hidden)
            return self.push_through_readout(hidden)

        return product

    def _derivative(self, layer: Any) -> Callable[[jax.Array], jax.Array]:
        inputs = (self.network.rows_at(layer), self.network.context)
        return self._rebuild(units.row_at(self.residuals_L, layer), inputs)
