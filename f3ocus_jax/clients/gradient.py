"""Gradient of the chosen layers, at the cost of the chosen layers alone."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.clients.passes import Choice, Stack
from f3ocus_jax.models import losses, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows

ClientParams = tuple[Rows, Params]
"""Parameters that a client trains: (rows_R, head)."""

LossAndGradient = Callable[
    [Params, Rows, Choice, ClientParams, Batch], tuple[jax.Array, tuple[Rows, Params]]
]
Backward = Callable[[jax.Array], tuple[Rows, Params]]
"""cotangent_BC -> (gradient_R, head gradient)."""

ActivationBuffer = Any
"""Memory for the residuals of a forward pass. Its content does not matter, but a loop that carries
the same buffer from step to step saves filling that of all layers with zeros: a fifth of a step
that trains the top layer alone."""


@dataclasses.dataclass(frozen=True)
class Forward:
    """Forward pass of a client's model, with its backward pass.

    Attributes:
      make_buffer: (frozen, rows_L, choice, (rows_R, head), batch) -> ActivationBuffer.
      run: (the same, buffer) -> (logits_BC, backward, buffer); call `backward` before the buffer is
        reused.
    """

    make_buffer: Callable[[Params, Rows, Choice, ClientParams, Batch], ActivationBuffer]
    run: Callable[
        [Params, Rows, Choice, ClientParams, Batch, ActivationBuffer],
        tuple[jax.Array, Backward, ActivationBuffer],
    ]


@dataclasses.dataclass(frozen=True)
class BufferedGradient:
    """Gradient of a client's loss that reuses a buffer.

    Attributes:
      make_buffer: See `Forward`.
      run: (inputs of `LossAndGradient`, buffer) -> (loss [], gradients, buffer).
    """

    make_buffer: Callable[[Params, Rows, Choice, ClientParams, Batch], ActivationBuffer]
    run: Callable[
        [Params, Rows, Choice, ClientParams, Batch, ActivationBuffer],
        tuple[jax.Array, tuple[Rows, Params], ActivationBuffer],
    ]


def make_gradient(model: Model, **settings: Any) -> LossAndGradient:
    """Makes the function that differentiates a client's loss, with a buffer of its own.

    Args:
      model: The model.
      **settings: Arguments of `make_buffered_gradient`.

    Returns:
      (frozen, rows_L, choice, (rows_R, head), batch) -> (loss [], (gradient_R, head gradient)).
      The loss is the mean over the batch's examples; unused slots of `rows_R` have gradient 0.
    """
    buffered = make_buffered_gradient(model, **settings)

    def loss_and_gradient(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> tuple[jax.Array, tuple[Rows, Params]]:
        inputs = (frozen, rows_L, choice, trained, batch)
        return buffered.run(*inputs, buffered.make_buffer(*inputs))[:2]

    return loss_and_gradient


def make_buffered_gradient(
    model: Model,
    *,
    unit: str,
    loss: str,
    skip_frozen: bool,
    rematerialise: bool = False,
    accumulate: int = 1,
) -> BufferedGradient:
    """Makes the functions that differentiate a client's loss step after step.

    Args:
      model: The model.
      unit: A key of `units.UNITS`.
      loss: A key of `losses.LOSSES`.
      skip_frozen: See `make_forward`.
      rematerialise: See `make_forward`.
      accumulate: Number of parts that a batch is run in, one after the other: less memory and the
        same gradient. It must divide the batch.

    Returns:
      The functions.
    """
    per_example = losses.make_loss(loss)
    forward = make_forward(model, unit=unit, skip_frozen=skip_frozen, rematerialise=rematerialise)

    def make_buffer(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> ActivationBuffer:
        part = jax.tree.map(lambda leaf: leaf[0], _parts(batch, accumulate))
        return forward.make_buffer(frozen, rows_L, choice, trained, part)

    def run(
        frozen: Params,
        rows_L: Rows,
        choice: Choice,
        trained: ClientParams,
        batch: Batch,
        buffer: ActivationBuffer,
    ) -> tuple[jax.Array, tuple[Rows, Params], ActivationBuffer]:
        def total(part: Batch, buffer: ActivationBuffer) -> tuple[Any, ActivationBuffer]:
            inputs = (frozen, rows_L, choice, trained, part, buffer)
            return _loss_sum_and_gradient(forward, per_example, part, inputs)

        if accumulate == 1:
            sums, buffer = total(batch, buffer)
        else:
            zeros = (jnp.float32(0.0), jax.tree.map(jnp.zeros_like, trained))
            sums, buffer = _sum_over(total, zeros, _parts(batch, accumulate), buffer)
        count = jnp.maximum(jnp.sum(losses.weights(batch)), 1.0)
        value, gradients = jax.tree.map(lambda leaf: (leaf / count).astype(leaf.dtype), sums)
        return value, gradients, buffer

    return BufferedGradient(make_buffer, run)


def _loss_sum_and_gradient(
    forward: Forward, per_example: losses.Loss, part: Batch, inputs: tuple[Any, ...]
) -> tuple[Any, ActivationBuffer]:
    """Returns ((sum over the examples that count, its gradient), buffer)."""
    logits_BC, backward, buffer = forward.run(*inputs)

    def objective(logits_BC: jax.Array) -> jax.Array:
        return losses.masked_sum(per_example(logits_BC, part), part)

    value, cotangent_BC = jax.value_and_grad(objective)(logits_BC)
    return (value, backward(cotangent_BC)), buffer


def make_forward(
    model: Model, *, unit: str, skip_frozen: bool, rematerialise: bool = False
) -> Forward:
    """Makes the forward pass of a client's model, with its backward pass.

    Args:
      model: The model.
      unit: A key of `units.UNITS`.
      skip_frozen: If True, frozen layers are skipped at run time. Set it to False under `vmap` over
        clients, where all branches would be computed, at a higher cost.
      rematerialise: If True, the backward pass runs every block a second time instead of keeping
        its residuals: only the input of every layer is kept.

    Returns:
      The functions.
    """

    def stack(
        frozen: Params, rows_L: Rows, choice: Choice, batch: Batch
    ) -> tuple[Stack, jax.Array]:
        hidden, context = model.embed(frozen["embeddings"], batch)
        stacks = (units.frozen_rows(frozen), rows_L)
        return Stack(model, unit, stacks, choice, context, skip_frozen, rematerialise), hidden

    def make_buffer(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> ActivationBuffer:
        network, hidden = stack(frozen, rows_L, choice, batch)
        return empty_buffer(network, trained[0], hidden)

    def run(
        frozen: Params,
        rows_L: Rows,
        choice: Choice,
        trained: ClientParams,
        batch: Batch,
        buffer: ActivationBuffer,
    ) -> tuple[jax.Array, Backward, ActivationBuffer]:
        rows_R, head = trained
        network, hidden = stack(frozen, rows_L, choice, batch)
        hidden, residuals_L, rebuild = network.forward(rows_R, hidden, buffer)
        logits_BC, derivative = jax.vjp(
            lambda head, hidden: model.readout(frozen["readout"], head, hidden, network.context),
            head,
            hidden,
        )

        def backward(cotangent_BC: jax.Array) -> tuple[Rows, Params]:
            head_gradient, cotangent = derivative(cotangent_BC)
            return network.backward(rows_R, cotangent, residuals_L, rebuild), head_gradient

        return logits_BC, backward, residuals_L

    return Forward(make_buffer, run)


def empty_buffer(network: Stack, rows_R: Rows, hidden: jax.Array) -> ActivationBuffer:
    """Returns zeros in the shape of all layers' residuals."""
    shapes = jax.eval_shape(
        lambda hidden: network.linearised(rows_R, jnp.int32(0), hidden)[1], hidden
    )
    layers = network.model.num_layers
    return jax.tree.map(lambda leaf: jnp.zeros((layers, *leaf.shape), leaf.dtype), shapes)


def _sum_over(
    total: Callable[[Batch, ActivationBuffer], tuple[Any, ActivationBuffer]],
    zeros: Any,
    parts: Batch,
    buffer: ActivationBuffer,
) -> tuple[Any, ActivationBuffer]:
    """Adds up a function of the parts of a batch; returns (sum, buffer)."""

    def add(state: tuple[Any, ActivationBuffer], part: Batch) -> tuple[Any, None]:
        sums, buffer = state
        more, buffer = total(part, buffer)
        return (jax.tree.map(jnp.add, sums, more), buffer), None

    return jax.lax.scan(add, (zeros, buffer), parts)[0]


def _parts(batch: Batch, count: int) -> Batch:
    """Splits a batch into parts, on a new leading axis."""
    return jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), batch)
