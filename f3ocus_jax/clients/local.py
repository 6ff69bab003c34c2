"""What does one client do between receiving the model and sending its layers back?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

from f3ocus_jax.clients import gradient
from f3ocus_jax.clients.passes import Choice
from f3ocus_jax.models import base
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


def create(
    model: Model,
    *,
    unit: str,
    loss: str,
    optimizer: optax.GradientTransformation,
    skip_frozen: bool,
    rematerialise: bool = False,
    accumulate: int = 1,
    precision: str = "float32",
) -> Train:
    """Makes the local training of one client.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`.
      loss: a key of `f3ocus_jax.models.losses.LOSSES`.
      optimizer: trains rows and head; its state starts anew every round, for chosen rows only.
      skip_frozen: see `gradient.create_forward`.
      rematerialise: see `gradient.create_forward`.
      accumulate: see `gradient.create`.
      precision: dtype of the parameters that blocks compute with, and of the hidden states. What
        is trained is kept, and its gradient taken up, in its own dtype.

    Returns:
      train(frozen, rows_L, head, task) -> LocalUpdate.
    """
    dtype = jnp.dtype(precision)
    loss_and_gradient = gradient.create(
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

        def step(carry: tuple, batch_and_index: tuple[Batch, jax.Array]) -> tuple[tuple, jax.Array]:
            batch, index = batch_and_index

            def move(carry: tuple) -> tuple:
                trained, state = carry
                value, slope = loss_and_gradient(frozen, rows_L, task.choice, trained, batch)
                updates, state = optimizer.update(slope, state, trained)
                return (optax.apply_updates(trained, updates), state), value

            def rest(carry: tuple) -> tuple:
                return carry, jnp.float32(0.0)

            return jax.lax.cond(index < task.steps, move, rest, carry)

        indices_S = jnp.arange(task.batches_S.labels_B.shape[0])
        carry = (start, optimizer.init(start))
        (trained, _), losses_S = jax.lax.scan(step, carry, (task.batches_S, indices_S))
        return LocalUpdate(rows_R=trained[0], head=trained[1], losses_S=losses_S)

    return train
