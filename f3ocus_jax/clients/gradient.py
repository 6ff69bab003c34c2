"""What is the gradient of the chosen layers, at the cost of the chosen layers alone?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.clients.passes import Choice, Stack
from f3ocus_jax.models import losses, trainable
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows

Trained = tuple[Rows, Params]
"""(rows_R, head): what a client changes."""

LossAndGradient = Callable[
    [Params, Rows, Choice, Trained, Batch], tuple[jax.Array, tuple[Rows, Params]]
]
Pull = Callable[[jax.Array], tuple[Rows, Params]]
"""cotangent_BC -> (gradient_R, head gradient)."""

Forward = Callable[[Params, Rows, Choice, Trained, Batch], tuple[jax.Array, Pull]]


def create(
    model: Model,
    *,
    unit: str,
    loss: str,
    skip_frozen: bool,
    rematerialise: bool = False,
    accumulate: int = 1,
) -> LossAndGradient:
    """Makes the function that differentiates a client's loss.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`.
      loss: a key of `losses.LOSSES`.
      skip_frozen: see `create_forward`.
      rematerialise: see `create_forward`.
      accumulate: how many parts a batch is run in, one after the other: memory for fewer examples
        at a time, and the same gradient. It must divide the batch.

    Returns:
      (frozen, rows_L, choice, (rows_R, head), batch) -> (loss [], (gradient_R, head gradient)).
      The loss is the mean over the batch's examples; places of `rows_R` that are not in use have
      gradient 0.
    """
    per_example = losses.create(loss)
    forward = create_forward(model, unit=unit, skip_frozen=skip_frozen, rematerialise=rematerialise)

    def total(
        frozen: Params, rows_L: Rows, choice: Choice, trained: Trained, batch: Batch
    ) -> tuple[jax.Array, tuple[Rows, Params]]:
        """Returns the sum over the examples that count, and its gradient."""
        logits_BC, pull = forward(frozen, rows_L, choice, trained, batch)

        def objective(logits_BC: jax.Array) -> jax.Array:
            return losses.masked_sum(per_example(logits_BC, batch), batch)

        value, cotangent_BC = jax.value_and_grad(objective)(logits_BC)
        return value, pull(cotangent_BC)

    def loss_and_gradient(
        frozen: Params, rows_L: Rows, choice: Choice, trained: Trained, batch: Batch
    ) -> tuple[jax.Array, tuple[Rows, Params]]:
        def add(sums: Any, part: Batch) -> tuple[Any, None]:
            more = total(frozen, rows_L, choice, trained, part)
            return jax.tree.map(jnp.add, sums, more), None

        if accumulate == 1:
            sums = total(frozen, rows_L, choice, trained, batch)
        else:
            zeros = (jnp.float32(0.0), jax.tree.map(jnp.zeros_like, trained))
            sums, _ = jax.lax.scan(add, zeros, _parts(batch, accumulate))
        count = jnp.maximum(jnp.sum(losses.weights(batch)), 1.0)
        return jax.tree.map(lambda leaf: (leaf / count).astype(leaf.dtype), sums)

    return loss_and_gradient


def create_forward(
    model: Model, *, unit: str, skip_frozen: bool, rematerialise: bool = False
) -> Forward:
    """Makes the function that runs a client's model and can go back.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`.
      skip_frozen: whether frozen layers are skipped at run time. Under `vmap` over clients, turn it
        off: branches that differ between clients would all be computed, at a higher price.
      rematerialise: whether the backward pass runs every block a second time, instead of keeping
        what the first time found: of every layer only the input is kept.

    Returns:
      (frozen, rows_L, choice, (rows_R, head), batch) -> (logits_BC, pull).
    """

    def forward(
        frozen: Params, rows_L: Rows, choice: Choice, trained: Trained, batch: Batch
    ) -> tuple[jax.Array, Pull]:
        rows_R, head = trained
        hidden, context = model.embed(frozen["embeddings"], batch)
        stacks = (trainable.frozen_rows(frozen), rows_L)
        network = Stack(model, unit, stacks, choice, context, skip_frozen, rematerialise)
        hidden, residuals_L, rebuild = network.forward(rows_R, hidden)
        logits_BC, derivative = jax.vjp(
            lambda head, hidden: model.readout(frozen["readout"], head, hidden, context),
            head,
            hidden,
        )

        def pull(cotangent_BC: jax.Array) -> tuple[Rows, Params]:
            head_gradient, cotangent = derivative(cotangent_BC)
            return network.backward(rows_R, cotangent, residuals_L, rebuild), head_gradient

        return logits_BC, pull

    return forward


def _parts(batch: Batch, count: int) -> Batch:
    """Cuts a batch into parts, on a new leading axis."""
    return jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), batch)
