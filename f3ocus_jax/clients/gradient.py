"""What is the gradient of the chosen layers, at the cost of the chosen layers alone?

Reverse mode is written out layer by layer here, because autodiff of a scan always pays for every
layer: the forward pass keeps residuals only from the lowest chosen layer on, and the backward pass
ends there and skips the weight gradient of every layer that is not chosen. Which layers these are
is data, so another choice runs the same compiled program.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.models import linear, losses, trainable
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Params, Rows


@struct.dataclass
class Choice:
    """The layers one client trains.

    Attributes:
      layers_R: int32, ascending; places beyond the client's budget hold L.
    """

    layers_R: Array

    def slots(self, num_layers: int) -> jax.Array:
        """Returns slot_L, int32: where a layer's row is in the chosen rows; R if it is not."""
        unchosen_L = jnp.full(num_layers, self.layers_R.size, jnp.int32)
        places_R = jnp.arange(self.layers_R.size, dtype=jnp.int32)
        return unchosen_L.at[self.layers_R].set(places_R, mode="drop")

    def take(self, rows_L: Rows) -> Rows:
        """Returns the chosen rows; unused places repeat the last layer."""
        return jax.tree.map(lambda leaf: leaf.at[self.layers_R].get(mode="clip"), rows_L)


LossAndGradient = Callable[
    [Params, Rows, Choice, tuple[Rows, Params], Batch], tuple[jax.Array, tuple[Rows, Params]]
]


def create(model: Model, *, unit: str, loss: str, skip_frozen: bool) -> LossAndGradient:
    """Makes the function that differentiates a client's loss.

    Args:
      model: the model.
      unit: "adapter" or "block".
      loss: a key of `losses.LOSSES`.
      skip_frozen: whether frozen layers are skipped at run time. Under `vmap` over clients, turn it
        off: branches that differ between clients would all be computed, at a higher price.

    Returns:
      (frozen, rows_L, choice, (rows_R, head), batch) -> (loss [], (gradient_R, head gradient)).
      The loss is the mean over the batch's examples; places of `rows_R` that are not in use have
      gradient 0.
    """
    per_example = losses.create(loss)

    def loss_and_gradient(
        frozen: Params,
        rows_L: Rows,
        choice: Choice,
        trained: tuple[Rows, Params],
        batch: Batch,
    ) -> tuple[jax.Array, tuple[Rows, Params]]:
        rows_R, head = trained
        hidden, context = model.embed(frozen["embeddings"], batch)
        stacks = (trainable.frozen_rows(frozen, unit), rows_L)
        network = _Stack(model, unit, stacks, choice, context, skip_frozen)
        hidden, residuals_L, rebuild = network.forward(rows_R, hidden)

        def objective(head: Params, hidden: jax.Array) -> jax.Array:
            logits_BC = model.readout(frozen["readout"], head, hidden, context)
            return losses.masked_mean(per_example(logits_BC, batch), batch)

        value, (head_gradient, cotangent) = jax.value_and_grad(objective, argnums=(0, 1))(
            head, hidden
        )
        gradient_R = network.backward(rows_R, cotangent, residuals_L, rebuild)
        return value, (gradient_R, head_gradient)

    return loss_and_gradient


class _Stack:
    """The blocks of one model under one client's choice of layers."""

    def __init__(
        self,
        model: Model,
        unit: str,
        stacks: tuple[Rows, Rows],
        choice: Choice,
        context: Any,
        skip_frozen: bool,
    ) -> None:
        self.model, self.unit, self.stacks, self.context = model, unit, stacks, context
        self.slot_L = choice.slots(model.num_layers)
        self.num_rows = choice.layers_R.size
        self.skip_frozen = skip_frozen
        lowest = jnp.min(choice.layers_R, initial=model.num_layers)
        self.lowest = lowest if skip_frozen else 0

    def parts(self, rows_R: Rows, layer: jax.Array) -> tuple[Rows, Rows]:
        """Returns a layer's frozen part, and its selectable part as this client has it."""
        frozen_row, row = trainable.row_at(self.stacks, layer)
        slot = self.slot_L[layer]
        mine = jax.tree.map(lambda leaf: leaf.at[slot].get(mode="clip"), rows_R)
        row = jax.tree.map(lambda own, ours: jnp.where(slot < self.num_rows, own, ours), mine, row)
        return frozen_row, row

    def apply(self, frozen_row: Rows, row: Rows, hidden: jax.Array) -> jax.Array:
        """Runs one block."""
        block = trainable.block_and_adapter(frozen_row, row, self.unit)
        return self.model.block(*block, hidden, self.context)

    def linearised(
        self, rows_R: Rows, layer: jax.Array, hidden: jax.Array
    ) -> tuple[jax.Array, linear.Residuals, linear.Rebuild]:
        """Runs one block and keeps its derivative in its selectable part and its input."""
        frozen_row, row = self.parts(rows_R, layer)
        output, derivative = jax.vjp(
            lambda row, hidden: self.apply(frozen_row, row, hidden), row, hidden
        )
        residuals, rebuild = linear.detach(derivative, (frozen_row, row, self.context))
        return output, residuals, rebuild

    def forward(self, rows_R: Rows, hidden: jax.Array) -> tuple[jax.Array, Any, linear.Rebuild]:
        """Runs all blocks; residuals are kept from the lowest chosen layer on."""
        rebuilds = []

        def plain(layer: jax.Array, hidden: jax.Array) -> jax.Array:
            frozen_row, row = trainable.row_at(self.stacks, layer)
            return self.apply(frozen_row, row, hidden)

        def saving(layer: jax.Array, state: tuple[jax.Array, Any]) -> tuple[jax.Array, Any]:
            hidden, saved_L = state
            hidden, residuals, rebuild = self.linearised(rows_R, layer, hidden)
            rebuilds.append(rebuild)
            saved_L = jax.tree.map(lambda all, one: all.at[layer].set(one), saved_L, residuals)
            return hidden, saved_L

        shapes = jax.eval_shape(
            lambda hidden: self.linearised(rows_R, jnp.int32(0), hidden)[1], hidden
        )
        depth = self.model.num_layers
        empty_L = jax.tree.map(lambda leaf: jnp.zeros((depth, *leaf.shape), leaf.dtype), shapes)
        hidden = jax.lax.fori_loop(0, self.lowest, plain, hidden)
        hidden, saved_L = jax.lax.fori_loop(self.lowest, depth, saving, (hidden, empty_L))
        return hidden, saved_L, rebuilds[-1]

    def backward(
        self, rows_R: Rows, cotangent: jax.Array, residuals_L: Any, rebuild: linear.Rebuild
    ) -> Rows:
        """Returns the gradient of the chosen rows from that of the last hidden state."""
        depth = self.model.num_layers

        def step(index: jax.Array, state: tuple[jax.Array, Rows]) -> tuple[jax.Array, Rows]:
            layer = depth - 1 - index
            cotangent, gradient_R = state
            frozen_row, row = self.parts(rows_R, layer)
            residuals = trainable.row_at(residuals_L, layer)
            pull = rebuild(residuals, (frozen_row, row, self.context))
            row_gradient, cotangent = self._pull(pull, row, self.slot_L[layer], cotangent)
            # A layer that is not chosen writes to slot R, which is out of bounds and so dropped.
            slot = self.slot_L[layer]
            gradient_R = jax.tree.map(
                lambda all, one: all.at[slot].set(one, mode="drop"), gradient_R, row_gradient
            )
            return cotangent, gradient_R

        start = (cotangent, jax.tree.map(jnp.zeros_like, rows_R))
        _, gradient_R = jax.lax.fori_loop(0, depth - self.lowest, step, start)
        return gradient_R

    def _pull(
        self, pull: Callable[..., Any], row: Rows, slot: jax.Array, cotangent: jax.Array
    ) -> tuple[Rows, jax.Array]:
        if not self.skip_frozen:
            return pull(cotangent)
        return jax.lax.cond(
            slot < self.num_rows,
            pull,
            # The unused weight gradient is dead code here and is never computed.
            lambda cotangent: (jax.tree.map(jnp.zeros_like, row), pull(cotangent)[1]),
            cotangent,
        )
