"""What does one client do between receiving the model and sending its layers back?"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from f3ocus_jax.clients import gradient
from f3ocus_jax.clients.gradient import ActivationBuffer, ClientParams
from f3ocus_jax.clients.passes import Choice
from f3ocus_jax.models import base, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Params, Rows


@struct.dataclass
class LocalTask:
    """What one client trains on in one round.

    Attributes:
      choice: the layers it trains.
      batches_S: a Batch with leading step axis S.
      steps: int32 [], how many of the S steps it takes; the others are skipped.
      personal_L: rows that are the client's own and never averaged; None where there are none.
    """

    choice: Choice
    batches_S: Batch
    steps: Array
    personal_L: Rows = None


@struct.dataclass
class LocalUpdate:
    """What one client sends back.

    Attributes:
      rows_R: its chosen layers after training; unused places hold no meaning.
      head: the answer head after training.
      losses_S: loss of every step, before the step is taken; 0 for a step it skipped.
      personal_L: its own rows after training, which it keeps; None where there are none.
    """

    rows_R: Rows
    head: Params
    losses_S: Array
    personal_L: Rows = None


Train = Callable[[Params, Rows, Params, LocalTask], LocalUpdate]


def make_local_training(
    model: Model,
    *,
    unit: str,
    loss: str,
    optimizer: optax.GradientTransformation,
    skip_frozen: bool,
    rematerialise: bool = False,
    accumulate: int = 1,
    precision: str = "float32",
    proximal: float = 0.0,
) -> Train:
    """Makes the local training of one client.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`.
      loss: a key of `f3ocus_jax.models.losses.LOSSES`.
      optimizer: trains rows and head; its state starts anew every round, for chosen rows only.
      skip_frozen: see `gradient.make_forward`.
      rematerialise: see `gradient.make_forward`.
      accumulate: see `gradient.make_gradient`.
      precision: dtype of the parameters that blocks compute with, and of the hidden states. What
        is trained is kept, and its gradient taken up, in its own dtype.
      proximal: mu of FedProx (Li et al., 2020), whose term mu/2 |w - w_start|^2 is in the gradient
        and not in the losses that are reported.

    Returns:
      train(frozen, rows_L, head, task) -> LocalUpdate; to be called under `jax.jit`.
    """
    dtype = jnp.dtype(precision)
    differentiate = gradient.make_buffered_gradient(
        model if dtype == jnp.float32 else base.in_precision(model, dtype),
        unit=unit,
        loss=loss,
        skip_frozen=skip_frozen,
        rematerialise=rematerialise,
        accumulate=accumulate,
    )

    def train(frozen: Params, rows_L: Rows, head: Params, task: LocalTask) -> LocalUpdate:
        start = (task.choice.take(rows_L), head)
        if dtype != jnp.float32:
            frozen, rows_L = base.cast((frozen, rows_L), dtype)
        run = functools.partial(differentiate.run, frozen, rows_L, task.choice)
        step = _create_step(run, optimizer, proximal, start)
        room = differentiate.room(frozen, rows_L, task.choice, start, first_batch(task))
        carry = (start, optimizer.init(start), room)
        (trained, *_), losses_S = take_steps(step, carry, task)
        return LocalUpdate(rows_R=trained[0], head=trained[1], losses_S=losses_S)

    return train


def _create_step(
    run: Callable[
        [ClientParams, Batch, ActivationBuffer], tuple[jax.Array, ClientParams, ActivationBuffer]
    ],
    optimizer: optax.GradientTransformation,
    proximal: float,
    start: ClientParams,
) -> Callable[[tuple, Batch], tuple[tuple, jax.Array]]:
    """Makes one step: ((trained, optimizer state, scratch), batch) -> (the same, loss [])."""

    def pull(slope: jax.Array, now: jax.Array, then: jax.Array) -> jax.Array:
        return slope + proximal * (now - then)

    def step(carry: tuple, batch: Batch) -> tuple[tuple, jax.Array]:
        trained, state, scratch = carry
        value, slope, scratch = run(trained, batch, scratch)
        if proximal:
            slope = jax.tree.map(pull, slope, trained, start)
        updates, state = optimizer.update(slope, state, trained)
        return (optax.apply_updates(trained, updates), state, scratch), value

    return step


def take_steps(
    step: Callable[[Any, Batch], tuple[Any, jax.Array]], carry: Any, task: LocalTask
) -> tuple[Any, jax.Array]:
    """Takes as many steps as a client has.

    Args:
      step: (carry, batch) -> (carry, loss []).
      carry: before the first step.
      task: of the client.

    Returns:
      (carry after the last step, losses_S: 0 for steps that were not taken).
    """

    # A loop that ends, and not a scan that skips: skipping would copy all that is carried.
    def body(index: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        carry, losses_S = state
        carry, value = step(carry, units.row_at(task.batches_S, index))
        return carry, losses_S.at[index].set(value)

    planned = task.batches_S.labels_B.shape[0]
    start = (carry, jnp.zeros(planned, jnp.float32))
    return jax.lax.fori_loop(0, jnp.minimum(task.steps, planned), body, start)


def first_batch(task: LocalTask) -> Batch:
    """Returns the batch of a client's first step, as all of its batches are shaped."""
    return jax.tree.map(lambda leaf: leaf[0], task.batches_S)
