"""How strongly does each layer move the network's outputs? λ_1 of its neural tangent kernel.

For layer l with Jacobian J_l = ∂f/∂θ_l over N examples and C outputs, the layerwise kernel is
Θ_l = J_l J_lᵀ [N·C, N·C] (F³OCUS, section 3.2). It is never formed. A Lanczos step needs
Θ_l v = J_l (J_lᵀ v): a backward pass from the outputs down to layer l and a forward pass of
tangents from layer l up again. Every block is linearised once, at the hidden state that reached
it, and layer l pays only for the blocks above it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.importance.lanczos import largest_eigenvalue
from f3ocus_jax.importance.score import Importance, Score, shares
from f3ocus_jax.models import head as head_lib, linear, trainable
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows


def create(model: Model, *, unit: str, tolerance: float, max_iterations: int, **_: object) -> Score:
    """Makes the function that scores all layers of one client.

    Args:
      model: the model.
      unit: "adapter" or "block", what a layer's parameters are.
      tolerance: relative Lanczos residual at which an eigenvalue is accepted.
      max_iterations: Lanczos iterations at most.

    Returns:
      score(frozen, rows_L, head, batch, key) -> Importance. `batch` holds the N probe examples;
      masked ones do not count, nor do outputs of another task. `key` draws the start vector.
    """

    def score(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
    ) -> Importance:
        network = _Linearised(model, unit, frozen, rows_L, head, batch)
        mask_NC = head_lib.asked(batch, network.logits_NC.shape[-1])
        start_NC = mask_NC * jax.random.normal(key, network.logits_NC.shape)

        def top(layer: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
            kernel = network.kernel_product(layer)
            pair = largest_eigenvalue(
                lambda vector_NC: mask_NC * kernel(mask_NC * vector_NC),
                start_NC,
                tolerance=tolerance,
                max_iterations=max_iterations,
            )
            return pair.value, pair.residual, pair.iterations

        values_L, residuals_L, iterations_L = jax.lax.map(top, jnp.arange(model.num_layers))
        return Importance(shares(values_L), values_L, residuals_L, iterations_L)

    return score


class _Linearised:
    """The network around one batch: every block's derivative at the hidden state it received."""

    def __init__(
        self, model: Model, unit: str, frozen: Params, rows_L: Rows, head: Params, batch: Batch
    ) -> None:
        self.model, self.unit = model, unit
        self.stacks = (trainable.frozen_rows(frozen, unit), rows_L)
        hidden, self.context = model.embed(frozen["embeddings"], batch)

        def step(hidden: jax.Array, stacks: tuple[Rows, Rows]) -> tuple[jax.Array, Any]:
            block = trainable.block_and_adapter(*stacks, unit)
            output, derivative = jax.linearize(
                lambda hidden: model.block(*block, hidden, self.context), hidden
            )
            residuals, self.rebuild = linear.detach(derivative, (stacks, self.context))
            return output, (hidden, residuals)

        hidden, (self.inputs_LBTD, self.residuals_L) = jax.lax.scan(step, hidden, self.stacks)
        self.logits_NC, self.readout = jax.linearize(
            lambda hidden: model.readout(frozen["readout"], head, hidden, self.context), hidden
        )
        self.hidden_BTD = hidden

    def kernel_product(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        """Returns v_NC -> Θ_l v for one layer, which may be traced."""
        last = self.model.num_layers - 1
        frozen_row, row = trainable.row_at(self.stacks, layer)
        hidden = trainable.row_at(self.inputs_LBTD, layer)

        def output(row: Rows) -> jax.Array:
            block = trainable.block_and_adapter(frozen_row, row, self.unit)
            return self.model.block(*block, hidden, self.context)

        _, from_row = jax.linearize(output, row)
        to_row = jax.linear_transpose(from_row, row)
        from_logits = jax.linear_transpose(self.readout, self.hidden_BTD)

        def product(vector_NC: jax.Array) -> jax.Array:
            (hidden,) = from_logits(vector_NC)
            hidden = jax.lax.fori_loop(0, last - layer, lambda i, h: self.pull(last - i, h), hidden)
            hidden = from_row(*to_row(hidden))
            hidden = jax.lax.fori_loop(layer + 1, last + 1, self.push, hidden)
            return self.readout(hidden)

        return product

    def push(self, layer: jax.Array, tangent_BTD: jax.Array) -> jax.Array:
        """Sends a tangent of a layer's input to its output."""
        return self._derivative(layer)(tangent_BTD)

    def pull(self, layer: jax.Array, cotangent_BTD: jax.Array) -> jax.Array:
        """Sends a cotangent of a layer's output to its input."""
        transposed = jax.linear_transpose(self._derivative(layer), cotangent_BTD)
        return transposed(cotangent_BTD)[0]

    def _derivative(self, layer: jax.Array) -> Callable[[jax.Array], jax.Array]:
        inputs = (trainable.row_at(self.stacks, layer), self.context)
        return self.rebuild(trainable.row_at(self.residuals_L, layer), inputs)
