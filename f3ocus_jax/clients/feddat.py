"""How does a client of FedDAT train (Chen et al., AAAI 2024)? Two adapters teach each other.

Every block has three adapters. The shared one is averaged by the server, the personal one never
leaves the client, and a frozen copy of the shared one is as the round began. A block runs with the
shared adapter, or with the mean of the personal one and the copy. Each way has its own loss and
optimizer: half the task's loss, half the distance to the other way's answers.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import optax

from f3ocus_jax.clients import gradient, local
from f3ocus_jax.clients.gradient import ActivationBuffer, Backward, ClientParams
from f3ocus_jax.clients.local import LocalTask, LocalUpdate, Train
from f3ocus_jax.models import losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows

TEMPERATURE = 3.0

Run = Callable[
    [ClientParams, Batch, ActivationBuffer], tuple[jax.Array, Backward, ActivationBuffer]
]
"""One way: (what it trains, batch, scratch) -> (logits_BC, pull, scratch)."""


def make_feddat_training(
    model: Model,
    *,
    loss: str,
    optimizer: optax.GradientTransformation,
    skip_frozen: bool,
    rematerialise: bool = False,
) -> Train:
    """Makes the local training of one client.

    Both ways of a step start from the same parameters. The authors' code runs the personal way with
    the head that the shared way has just moved, and keeps one optimizer state for both.

    Args:
      model: with adapters.
      loss: a key of `losses.LOSSES`, the task's.
      optimizer: of either way; its states start anew every round.
      skip_frozen: see `gradient.make_forward`.
      rematerialise: see `gradient.make_forward`.

    Returns:
      train(frozen, rows_L, head, task) -> LocalUpdate. `task.personal_L` are the client's own
      adapters, which come back trained in the chosen layers. The head goes with the shared ones.
      Losses are the shared way's, of the task alone.
    """
    settings: dict[str, Any] = {"skip_frozen": skip_frozen, "rematerialise": rematerialise}
    of_shared = gradient.make_forward(model, unit="adapter", **settings)
    of_mixed = gradient.make_forward(model, unit="mixed", **settings)

    def train(frozen: Params, rows_L: Rows, head: Params, task: LocalTask) -> LocalUpdate:
        choice, personal_L = task.choice, {"personal": task.personal_L}
        around = {**frozen, "adapters": {"shared": rows_L}}
        runs = (
            functools.partial(of_shared.run, frozen, rows_L, choice),
            functools.partial(of_mixed.run, around, personal_L, choice),
        )
        shared, personal_R = (choice.take(rows_L), head), choice.take(personal_L)
        first = local.first_batch(task)
        rooms = (
            of_shared.room(frozen, rows_L, choice, shared, first),
            of_mixed.room(around, personal_L, choice, (personal_R, head), first),
        )
        states = (optimizer.init(shared), optimizer.init(personal_R))
        step = _create_step(loss, optimizer, *runs)
        carry, losses_S = local.take_steps(step, ((shared, personal_R), states, rooms), task)
        (rows_R, head), personal_R = carry[0]
        return LocalUpdate(rows_R, head, losses_S, _put(task, personal_R["personal"]))

    return train


def _create_step(
    loss: str, optimizer: optax.GradientTransformation, run_shared: Run, run_mixed: Run
) -> Callable[[tuple, Batch], tuple[tuple, jax.Array]]:
    """Makes one step of both ways: ((trained, states, rooms), batch) -> (the same, loss [])."""
    of_task = losses.make_loss(loss)

    def step(carry: tuple, batch: Batch) -> tuple[tuple, jax.Array]:
        (shared, personal_R), states, (room, other_room) = carry
        shared_BC, pull_shared, room = run_shared(shared, batch, room)
        mixed_BC, pull_mixed, other_room = run_mixed((personal_R, shared[1]), batch, other_room)
        teach = teacher(loss, batch)
        slopes = (
            pull_shared(jax.grad(teach)(shared_BC, mixed_BC)),
            pull_mixed(jax.grad(teach)(mixed_BC, shared_BC))[0],
        )
        trained, states = _move(optimizer, slopes, states, (shared, personal_R))
        value = losses.masked_mean(of_task(shared_BC, batch), batch)
        return (trained, states, (room, other_room)), value

    return step


def teacher(loss: str, batch: Batch) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Makes the loss of one way, given the other's answers.

    Args:
      loss: a key of `losses.LOSSES`.
      batch: the examples.

    Returns:
      (logits_BC, others_BC) -> [], half the task's loss and half the divergence, mean over the
      examples that count; no gradient goes to the others.
    """

    of_task = losses.make_loss(loss)

    def half_and_half(logits_BC: jax.Array, others_BC: jax.Array) -> jax.Array:
        others_BC = jax.lax.stop_gradient(others_BC)
        apart_B = losses.distillation(logits_BC, others_BC, batch, TEMPERATURE)
        return losses.masked_mean(0.5 * (of_task(logits_BC, batch) + apart_B), batch)

    return half_and_half


def _move(
    optimizer: optax.GradientTransformation, slopes: tuple, states: tuple, parts: tuple
) -> tuple[tuple, tuple]:
    """Moves each part by its own optimizer state."""
    moved, kept = [], []
    for slope, state, part in zip(slopes, states, parts, strict=True):
        updates, state = optimizer.update(slope, state, part)
        moved.append(optax.apply_updates(part, updates))
        kept.append(state)
    return tuple(moved), tuple(kept)


def _put(task: LocalTask, personal_R: Rows) -> Rows:
    """Returns the client's own adapters with the trained ones in their places."""
    return jax.tree.map(
        lambda all, some: all.at[task.choice.layers_R].set(some, mode="drop"),
        task.personal_L,
        personal_R,
    )
