"""What is the gradient of the chosen layers, at the cost of the chosen layers alone?"""

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
"""(rows_R, head): what a client changes."""

LossAndGradient = Callable[
    [Params, Rows, Choice, ClientParams, Batch], tuple[jax.Array, tuple[Rows, Params]]
]
Backward = Callable[[jax.Array], tuple[Rows, Params]]
"""cotangent_BC -> (gradient_R, head gradient)."""

ActivationBuffer = Any
"""Room for what a forward pass keeps. Whatever is in it does not matter, but a loop that hands the
same room from step to step saves filling that of all layers with zeros: of a step that trains the
top layer alone, a fifth."""


@dataclasses.dataclass(frozen=True)
class Forward:
    """Runs a client's model and can go back.

    Attributes:
      room: (frozen, rows_L, choice, (rows_R, head), batch) -> Scratch.
      run: (the same, scratch) -> (logits_BC, pull, scratch); call `pull` before the room is reused.
    """

    room: Callable[[Params, Rows, Choice, ClientParams, Batch], ActivationBuffer]
    run: Callable[
        [Params, Rows, Choice, ClientParams, Batch, ActivationBuffer],
        tuple[jax.Array, Backward, ActivationBuffer],
    ]


@dataclasses.dataclass(frozen=True)
class BufferedGradient:
    """Differentiates a client's loss in a room that is given.

    Attributes:
      room: as of `Forward`.
      run: (what `LossAndGradient` takes, scratch) -> (loss [], gradients, scratch).
    """

    room: Callable[[Params, Rows, Choice, ClientParams, Batch], ActivationBuffer]
    run: Callable[
        [Params, Rows, Choice, ClientParams, Batch, ActivationBuffer],
        tuple[jax.Array, tuple[Rows, Params], ActivationBuffer],
    ]


def make_gradient(model: Model, **settings: Any) -> LossAndGradient:
    """Makes the function that differentiates a client's loss in a room of its own.

    Args:
      model: the model.
      **settings: as `make_buffered_gradient` takes them.

    Returns:
      (frozen, rows_L, choice, (rows_R, head), batch) -> (loss [], (gradient_R, head gradient)).
      The loss is the mean over the batch's examples; places of `rows_R` that are not in use have
      gradient 0.
    """
    reusing = make_buffered_gradient(model, **settings)

    def loss_and_gradient(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> tuple[jax.Array, tuple[Rows, Params]]:
        inputs = (frozen, rows_L, choice, trained, batch)
        return reusing.run(*inputs, reusing.room(*inputs))[:2]

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
      model: the model.
      unit: a key of `trainable.UNITS`.
      loss: a key of `losses.LOSSES`.
      skip_frozen: see `make_forward`.
      rematerialise: see `make_forward`.
      accumulate: how many parts a batch is run in, one after the other: memory for fewer examples
        at a time, and the same gradient. It must divide the batch.

    Returns:
      The functions.
    """
    per_example = losses.make_loss(loss)
    forward = make_forward(model, unit=unit, skip_frozen=skip_frozen, rematerialise=rematerialise)

    def room(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> ActivationBuffer:
        part = jax.tree.map(lambda leaf: leaf[0], _parts(batch, accumulate))
        return forward.room(frozen, rows_L, choice, trained, part)

    def run(
        frozen: Params,
        rows_L: Rows,
        choice: Choice,
        trained: ClientParams,
        batch: Batch,
        scratch: ActivationBuffer,
    ) -> tuple[jax.Array, tuple[Rows, Params], ActivationBuffer]:
        def total(part: Batch, scratch: ActivationBuffer) -> tuple[Any, ActivationBuffer]:
            """Returns the sum over the examples that count, and its gradient."""
            inputs = (frozen, rows_L, choice, trained, part, scratch)
            logits_BC, pull, scratch = forward.run(*inputs)

            def objective(logits_BC: jax.Array) -> jax.Array:
                return losses.masked_sum(per_example(logits_BC, part), part)

            value, cotangent_BC = jax.value_and_grad(objective)(logits_BC)
            return (value, pull(cotangent_BC)), scratch

        def add(
            state: tuple[Any, ActivationBuffer], part: Batch
        ) -> tuple[tuple[Any, ActivationBuffer], None]:
            sums, scratch = state
            more, scratch = total(part, scratch)
            return (jax.tree.map(jnp.add, sums, more), scratch), None

        if accumulate == 1:
            sums, scratch = total(batch, scratch)
        else:
            zeros = (jnp.float32(0.0), jax.tree.map(jnp.zeros_like, trained))
            (sums, scratch), _ = jax.lax.scan(add, (zeros, scratch), _parts(batch, accumulate))
        count = jnp.maximum(jnp.sum(losses.weights(batch)), 1.0)
        value, gradients = jax.tree.map(lambda leaf: (leaf / count).astype(leaf.dtype), sums)
        return value, gradients, scratch

    return BufferedGradient(room, run)


def make_forward(
    model: Model, *, unit: str, skip_frozen: bool, rematerialise: bool = False
) -> Forward:
    """Makes the functions that run a client's model and can go back.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`.
      skip_frozen: whether frozen layers are skipped at run time. Under `vmap` over clients, turn it
        off: branches that differ between clients would all be computed, at a higher price.
      rematerialise: whether the backward pass runs every block a second time, instead of keeping
        what the first time found: of every layer only the input is kept.

    Returns:
      The functions.
    """

    def stack(
        frozen: Params, rows_L: Rows, choice: Choice, batch: Batch
    ) -> tuple[Stack, jax.Array]:
        hidden, context = model.embed(frozen["embeddings"], batch)
        stacks = (units.frozen_rows(frozen), rows_L)
        return Stack(model, unit, stacks, choice, context, skip_frozen, rematerialise), hidden

    def room(
        frozen: Params, rows_L: Rows, choice: Choice, trained: ClientParams, batch: Batch
    ) -> ActivationBuffer:
        network, hidden = stack(frozen, rows_L, choice, batch)
        shapes = jax.eval_shape(
            lambda hidden: network.linearised(trained[0], jnp.int32(0), hidden)[1], hidden
        )
        return jax.tree.map(
            lambda leaf: jnp.zeros((model.num_layers, *leaf.shape), leaf.dtype), shapes
        )

    def run(
        frozen: Params,
        rows_L: Rows,
        choice: Choice,
        trained: ClientParams,
        batch: Batch,
        scratch: ActivationBuffer,
    ) -> tuple[jax.Array, Backward, ActivationBuffer]:
        rows_R, head = trained
        network, hidden = stack(frozen, rows_L, choice, batch)
        hidden, kept_L, rebuild = network.forward(rows_R, hidden, scratch)
        logits_BC, derivative = jax.vjp(
            lambda head, hidden: model.readout(frozen["readout"], head, hidden, network.context),
            head,
            hidden,
        )

        def pull(cotangent_BC: jax.Array) -> tuple[Rows, Params]:
            head_gradient, cotangent = derivative(cotangent_BC)
            return network.backward(rows_R, cotangent, kept_L, rebuild), head_gradient

        return logits_BC, pull, kept_L

    return Forward(room, run)


def _parts(batch: Batch, count: int) -> Batch:
    """Cuts a batch into parts, on a new leading axis."""
    return jax.tree.map(lambda leaf: leaf.reshape(count, -1, *leaf.shape[1:]), batch)
