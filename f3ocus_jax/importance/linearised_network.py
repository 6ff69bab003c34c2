"""How does a network move with one layer? Every block linearised once, at the input it received.

A product with layer l's kernel is a backward pass from the outputs down to layer l and a forward
pass of tangents from layer l up again. The blocks' derivatives are kept as data, so that neither
pass repeats the network itself, and layer l pays only for the blocks above it.
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
"""(cotangent of a block's output -> row, tangent of the row -> tangent of the output)."""


class Linearised:
    """The derivatives of a network around its batch; made and used within one trace.

    Attributes:
      network: it.
      inputs_L: what every block received, leading axis L.
      outputs: of the network, float32, [N, ...].
    """

    def __init__(self, network: Network) -> None:
        self.network = network

        def step(hidden: jax.Array, layer: jax.Array) -> tuple[jax.Array, Any]:
            rows = network.rows_at(layer)
            output, derivative = jax.linearize(
                lambda hidden: network.block(*rows, hidden, network.context), hidden
            )
            residuals, self._rebuild = derivatives.split_residuals(
                derivative, (rows, network.context)
            )
            return output, (hidden, residuals)

        hidden = network.hidden.astype(jnp.float32)
        layers_L = jnp.arange(network.num_layers)
        hidden, (self.inputs_L, self.residuals_L) = jax.lax.scan(step, hidden, layers_L)
        self.outputs, self.push_readout = jax.linearize(
            lambda hidden: network.readout(hidden).astype(jnp.float32), hidden
        )
        self._pull_readout = jax.linear_transpose(self.push_readout, hidden)

    @property
    def num_layers(self) -> int:
        """L."""
        return self.network.num_layers

    @property
    def last(self) -> int:
        """Index of the topmost layer."""
        return self.network.num_layers - 1

    def pull_readout(self, cotangent: jax.Array) -> jax.Array:
        """Sends a cotangent of the outputs to the last block's output."""
        return self._pull_readout(cotangent)[0]

    def push(self, layer: Any, tangent: jax.Array) -> jax.Array:
        """Sends a tangent of a layer's input to its output."""
        return self._derivative(layer)(tangent)

    def pull(self, layer: Any, cotangent: jax.Array) -> jax.Array:
        """Sends a cotangent of a layer's output to its input."""
        return jax.linear_transpose(self._derivative(layer), cotangent)(cotangent)[0]

    def row_maps(self, layer: Any) -> RowMaps:
        """Returns how a layer's own parameters move its output, and the transpose of that."""
        row, frozen_row = self.network.rows_at(layer)
        hidden = units.row_at(self.inputs_L, layer)

        def output(row: Rows) -> jax.Array:
            return self.network.block(row, frozen_row, hidden, self.network.context)

        _, from_row = jax.linearize(output, row)
        to_row = jax.linear_transpose(from_row, row)
        return lambda cotangent: to_row(cotangent)[0], from_row

    def kernel_product(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns v -> Θ_l v for one layer, which may be traced; v is shaped as the outputs."""
        to_row, from_row = self.row_maps(layer)
        last = self.last

        def product(vector: jax.Array) -> jax.Array:
            hidden = self.pull_readout(vector)
            hidden = jax.lax.fori_loop(0, last - layer, lambda i, h: self.pull(last - i, h), hidden)
            hidden = from_row(to_row(hidden))
            hidden = jax.lax.fori_loop(layer + 1, last + 1, self.push, hidden)
            return self.push_readout(hidden)

        return product

    def _derivative(self, layer: Any) -> Callable[[jax.Array], jax.Array]:
        inputs = (self.network.rows_at(layer), self.network.context)
        return self._rebuild(units.row_at(self.residuals_L, layer), inputs)
