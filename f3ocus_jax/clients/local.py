"""Local training of one client: from the model it receives to the layers it sends back."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from f3ocus_jax.clients import controls, gradient, layer_optimizer
from f3ocus_jax.clients.gradient import ActivationBuffer, ClientParams
from f3ocus_jax.clients.passes import Choice
from f3ocus_jax.models import base, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Controls, Params, Rows


@struct.dataclass
class LocalNoise:
    """Noise of one client's gradients in one round.

    Attributes:
      key_data: Data of a typed random key of this client and round, which nobody else knows.
      batch_size: float32 [], expected number of examples in a batch.
    """

    key_data: Array
    batch_size: Array


@struct.dataclass
class LocalTask:
    """Input of one client's local training in one round.

    Attributes:
      choice: Layers that it trains.
      batches_S: A Batch with leading step axis S.
      steps: int32 [], number of steps that it takes, at most S; the others are skipped.
      personal_L: Layers that are the client's own and never averaged; None without any.
      optimizer: State that the client's optimizer has kept, see `layer_optimizer`; None to start
        from a new one.
      noise: Noise of its gradients, for training with differential privacy; None without.
      controls: The server's controls of the chosen layers and of the head; None without any.
      own_controls: The client's controls of all layers, likewise.
      trains_head: False to keep the head as it is. Static: training without it is another program,
        which computes no gradient of the head.
    """

    choice: Choice
    batches_S: Batch
    steps: Array
    personal_L: Rows = None
    optimizer: Any = None
    noise: LocalNoise | None = None
    controls: Controls | None = None
    own_controls: Controls | None = None
    trains_head: bool = struct.field(pytree_node=False, default=True)


@struct.dataclass
class LocalUpdate:
    """Result of one client's local training.

    Attributes:
      rows_R: Chosen layers after training; unused slots are meaningless.
      head: Answer head after training; as it was in a task that does not train it.
      losses_S: float32, loss of every step before it is taken; 0 for a step that was skipped.
      personal_L: The client's own layers after training, which it keeps; None without any.
      optimizer: State of its optimizer after training, likewise; None if the task had none.
    """

    rows_R: Rows
    head: Params
    losses_S: Array
    personal_L: Rows = None
    optimizer: Any = None


Train = Callable[[Params, Rows, Params, LocalTask], LocalUpdate]
Run = Callable[
    [ClientParams, Batch, ActivationBuffer], tuple[jax.Array, ClientParams, ActivationBuffer]
]
"""(trained parameters, batch, buffer) -> (loss [], gradients, buffer)."""


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
      model: The model.
      unit: A key of `units.UNITS`.
      loss: A key of `losses.LOSSES`.
      optimizer: Optimizer of rows and head. Its state is reset every round and covers the chosen
        rows only, unless the task has one that the client kept.
      skip_frozen: See `gradient.make_forward`.
      rematerialise: See `gradient.make_forward`.
      accumulate: See `gradient.make_buffered_gradient`.
      precision: Data type of the blocks' parameters and hidden states. Trained parameters, their
        gradients and their updates keep their own data type.
      proximal: FedProx mu (Li et al., 2020), whose term mu/2 |w - w_start|^2 is part of the
        gradient and not of the reported losses; 0 disables it.

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
        run: Run = functools.partial(differentiate.run, frozen, rows_L, task.choice)
        buffer = differentiate.make_buffer(frozen, rows_L, task.choice, start, first_batch(task))
        if not task.trains_head:
            run, start = _with_frozen_head(run, head), (start[0], {})
        used, state = start_optimizer(optimizer, start, task)
        step = make_step(run, used, proximal, start, _correction(task))
        (trained, state, _), losses_S = take_steps(step, (start, state, buffer), task)
        head = trained[1] if task.trains_head else head
        return LocalUpdate(trained[0], head, losses_S, optimizer=keep_optimizer(state, task))

    return train


def start_optimizer(
    optimizer: optax.GradientTransformation, start: ClientParams, task: LocalTask
) -> tuple[optax.GradientTransformation, Any]:
    """Returns the optimizer of a task, and its state before the first step."""
    if task.optimizer is None:
        return optimizer, optimizer.init(start)
    kept = layer_optimizer.take(task.optimizer, task.choice)
    if not task.trains_head:
        kept["head"] = optimizer.init(start[1])
    return layer_optimizer.by_layer(optimizer), kept


def keep_optimizer(state: Any, task: LocalTask) -> Any:
    """Returns the state of all layers after a task; None if it kept none."""
    if task.optimizer is None:
        return None
    trained = state if task.trains_head else {"rows": state["rows"]}
    return layer_optimizer.put(task.optimizer, task.choice, trained)


def _correction(task: LocalTask) -> ClientParams | None:
    """Returns what the control variates add to every gradient of a task; None without any."""
    if task.controls is None or task.own_controls is None:
        return None
    own = controls.take(task.own_controls, task.choice)
    rows_R, head = controls.correction(task.controls, own)
    return rows_R, head if task.trains_head else {}


def _with_frozen_head(run: Run, head: Params) -> Run:
    """Makes the gradient of the rows alone; that of the head is dead code, which XLA removes."""

    def run_rows(
        trained: ClientParams, batch: Batch, buffer: ActivationBuffer
    ) -> tuple[jax.Array, ClientParams, ActivationBuffer]:
        value, (gradient_R, _), buffer = run((trained[0], head), batch, buffer)
        return value, (gradient_R, {}), buffer

    return run_rows


def make_step(
    run: Run,
    optimizer: optax.GradientTransformation,
    proximal: float,
    start: ClientParams,
    correction: ClientParams | None = None,
) -> Callable[[tuple, Batch], tuple[tuple, jax.Array]]:
    """Makes one step.

    Args:
      run: Gradient of a batch.
      optimizer: Optimizer of rows and head.
      proximal: FedProx mu.
      start: Parameters at the start of the round.
      correction: Added to every gradient; None for nothing.

    Returns:
      ((trained, optimizer state, buffer), batch) -> (the same, loss []).
    """

    def add_proximal(gradient: jax.Array, now: jax.Array, start: jax.Array) -> jax.Array:
        return gradient + proximal * (now - start)

    def step(carry: tuple, batch: Batch) -> tuple[tuple, jax.Array]:
        trained, state, buffer = carry
        value, gradients, buffer = run(trained, batch, buffer)
        if proximal:
            gradients = jax.tree.map(add_proximal, gradients, trained, start)
        if correction is not None:
            gradients = jax.tree.map(jnp.add, gradients, correction)
        updates, state = optimizer.update(gradients, state, trained)
        return (optax.apply_updates(trained, updates), state, buffer), value

    return step


def take_steps(
    step: Callable[[Any, Batch], tuple[Any, jax.Array]], carry: Any, task: LocalTask
) -> tuple[Any, jax.Array]:
    """Takes the steps of a client.

    Args:
      step: (carry, batch) -> (carry, loss []).
      carry: State before the first step.
      task: Task of the client.

    Returns:
      (carry after the last step, losses_S with 0 for steps that were not taken).
    """

    # A loop that ends, not a scan that skips: skipping would copy the whole carry.
    def body(index: jax.Array, state: tuple[Any, jax.Array]) -> tuple[Any, jax.Array]:
        carry, losses_S = state
        carry, value = step(carry, units.row_at(task.batches_S, index))
        return carry, losses_S.at[index].set(value)

    planned = task.batches_S.labels_B.shape[0]
    start = (carry, jnp.zeros(planned, jnp.float32))
    return jax.lax.fori_loop(0, jnp.minimum(task.steps, planned), body, start)


def first_batch(task: LocalTask) -> Batch:
    """Returns the batch of a client's first step; all of its batches have the same shapes."""
    return jax.tree.map(lambda leaf: leaf[0], task.batches_S)
