"""Sum of per-example gradients, each clipped over the chosen rows and the head together.

Two passes backwards follow one pass forwards: the first finds every example's norm, the second
differentiates the losses weighted with min(1, C / norm), whose gradient is the clipped sum. Both
run every block again, of which the pass forwards keeps the input alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.clients.gradient import ClientParams, empty_buffer
from f3ocus_jax.clients.passes import Choice, Stack
from f3ocus_jax.importance.network import example_axes
from f3ocus_jax.models import losses, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.privacy import factor_norms
from f3ocus_jax.types import Batch, Params, Rows

ClippedSum = Callable[[Params, Rows, Choice, ClientParams, Batch], tuple[ClientParams, jax.Array]]
"""(frozen, rows_L, choice, (rows_R, head), batch) -> (sum of the clipped gradients, norms_B)."""


def make_clipped_sum(
    model: Model,
    *,
    unit: str,
    loss: str,
    clip: float,
    skip_frozen: bool,
    trains_head: bool,
    parts: int = 1,
) -> ClippedSum:
    """Makes the function that clips and adds up a batch's gradients.

    Args:
      model: The model.
      unit: A key of `units.UNITS`.
      loss: A key of `losses.LOSSES`.
      clip: C, largest norm of one example's gradient.
      skip_frozen: See `gradient.make_forward`.
      trains_head: False to leave the head out of norms and gradient, which is 0 for it.
      parts: Parts that the batch is run in, one after the other; divides the batch.

    Returns:
      The function. Norms are those before clipping, 0 for padding; an example whose norm is not
      finite adds nothing.
    """
    per_example = losses.make_loss(loss)

    def of_part(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> tuple[ClientParams, jax.Array]:
        hidden, context = model.embed(frozen["embeddings"], batch)
        stacks = (units.frozen_rows(frozen), rows_L)
        network = Stack(model, unit, stacks, choice, context, skip_frozen, rematerialise=True)
        rows_R, head = trained
        buffer = empty_buffer(network, rows_R, hidden)
        hidden, inputs_L, rebuild = network.forward(rows_R, hidden, buffer)
        axes = example_axes(model, frozen["embeddings"], batch)

        def read(head: Params, hidden: jax.Array, context: Any = context) -> jax.Array:
            return model.readout(frozen["readout"], head, hidden, context)

        logits, pull = jax.vjp(read, head, hidden)
        cotangents_B = jax.grad(
            lambda logits: losses.masked_sum(per_example(logits, batch), batch)
        )(logits)
        total_B = _row_norms(network, rows_R, inputs_L[0], axes, pull(cotangents_B)[1])
        if trains_head:
            total_B += factor_norms.squared_norms(read, head, hidden, context, axes, cotangents_B)
        norms_B = jnp.sqrt(total_B)
        head_gradient, cotangent = pull(_scaled(cotangents_B, clip_factors(norms_B, clip)))
        rows_gradient = network.backward(rows_R, cotangent, inputs_L, rebuild)
        if not trains_head:
            head_gradient = jax.tree.map(jnp.zeros_like, head_gradient)
        return (rows_gradient, head_gradient), norms_B

    def clipped_sum(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> tuple[ClientParams, jax.Array]:
        if parts == 1:
            return of_part(frozen, rows_L, choice, trained, batch)

        def add(sums: ClientParams, part: Batch) -> tuple[ClientParams, jax.Array]:
            more, norms = of_part(frozen, rows_L, choice, trained, part)
            return jax.tree.map(jnp.add, sums, more), norms

        split = jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), batch)
        sums, norms = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, trained), split)
        return sums, norms.reshape(-1)

    return clipped_sum


def clip_factors(norms_B: jax.Array, clip: float) -> jax.Array:
    """Returns min(1, C / norm), 0 where the norm is not finite."""
    factors_B = jnp.minimum(1.0, clip / jnp.maximum(norms_B, 1e-30))
    return jnp.where(jnp.isfinite(norms_B), factors_B, 0.0)


def _scaled(cotangents_B: jax.Array, factors_B: jax.Array) -> jax.Array:
    """Multiplies examples with their factors; 0 drops whatever an example holds."""
    factors = factors_B.reshape(-1, *(1,) * (cotangents_B.ndim - 1))
    return jnp.where(factors > 0, cotangents_B * factors, 0.0)


def _row_norms(
    network: Stack, rows_R: Rows, inputs_L: jax.Array, axes: Any, cotangent: jax.Array
) -> jax.Array:
    """Returns the squared norms of the gradients of all chosen rows together, [B]."""

    def step(index: jax.Array, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        cotangent, total_B = state
        layer = network.model.num_layers - 1 - index
        frozen_row, row = network.parts(rows_R, layer)
        hidden = units.row_at(inputs_L, layer)

        def apply(row: Rows, hidden: jax.Array, context: Any) -> jax.Array:
            return units.run(network.model, frozen_row, row, network.unit, hidden, context)

        def chosen() -> jax.Array:
            given = (hidden, network.context, axes, cotangent)
            return factor_norms.squared_norms(apply, row, *given)

        is_chosen = network.slot_L[layer] < network.num_rows
        total_B += jax.lax.cond(is_chosen, chosen, lambda: jnp.zeros_like(total_B))
        return network.derivative((frozen_row, row), hidden)[1](cotangent)[1], total_B

    depth = network.model.num_layers - network.lowest
    none_B = jnp.zeros(len(cotangent), jnp.float32)
    return jax.lax.fori_loop(0, depth, step, (cotangent, none_B))[1]
