"""Local training of FedDAT (Chen et al., AAAI 2024): two adapters teach each other.

Every block has three adapters: a shared one, which the server averages; a personal one, which never
leaves the client; and a frozen copy of the shared one from the start of the round. The shared
branch runs every block with the shared adapter, the mixed branch with the mean of the personal
adapter and the copy. Each branch has its own loss and optimizer: half the task's loss, half the
divergence from the other branch's answers.
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
"""One branch: (trained parameters, batch, buffer) -> (logits_BC, backward, buffer)."""


def make_feddat_training(
    model: Model,
    *,
    loss: str,
    optimizer: optax.GradientTransformation,
    skip_frozen: bool,
    rematerialise: bool = False,
) -> Train:
    """Makes the local training of one client.

    Both branches of a step start from the same parameters. The authors' code runs the mixed branch
    with the head that the shared branch has just updated, and keeps one optimizer state for both.

    Args:
      model: A model with adapters.
      loss: A key of `losses.LOSSES`, for the task.
      optimizer: Optimizer of either branch; its states are reset every round.
      skip_frozen: See `gradient.make_forward`.
      rematerialise: See `gradient.make_forward`.

    Returns:
      train(frozen, rows_L, head, task) -> LocalUpdate. `task.personal_L` are the client's own
      adapters, which are trained in the chosen layers. The head is trained by the shared branch.
      Losses are those of the shared branch, for the task alone.
    """
    settings: dict[str, Any] = {"skip_frozen": skip_frozen, "rematerialise": rematerialise}
    of_shared = gradient.make_forward(model, unit="adapter", **settings)
    of_mixed = gradient.make_forward(model, unit="mixed", **settings)

    def train(frozen: Params, rows_L: Rows, head: Params, task: LocalTask) -> LocalUpdate:
        choice, personal_L = task.choice, {"personal": task.personal_L}
        with_shared = {**frozen, "adapters": {"shared": rows_L}}
        runs: tuple[Run, ...] = (
            functools.partial(of_shared.run, frozen, rows_L, choice),
            functools.partial(of_mixed.run, with_shared, personal_L, choice),
        )
        shared, personal_R = (choice.take(rows_L), head), choice.take(personal_L)
        first = local.first_batch(task)
        buffers = (
            of_shared.make_buffer(frozen, rows_L, choice, shared, first),
            of_mixed.make_buffer(with_shared, personal_L, choice, (personal_R, head), first),
        )
        if not task.trains_head:
            runs, shared = tuple(_with_frozen_head(run, head) for run in runs), (shared[0], {})
        states = (optimizer.init(shared), optimizer.init(personal_R))
        step = _make_step(loss, optimizer, *runs)
        carry, losses_S = local.take_steps(step, ((shared, personal_R), states, buffers), task)
        (rows_R, new_head), personal_R = carry[0]
        head = new_head if task.trains_head else head
        personal_L = choice.put(task.personal_L, personal_R["personal"])
        return LocalUpdate(rows_R, head, losses_S, personal_L)

    return train


def _with_frozen_head(run: Run, head: Params) -> Run:
    """Makes a branch whose head is not trained."""

    def run_rows(
        trained: ClientParams, batch: Batch, buffer: ActivationBuffer
    ) -> tuple[jax.Array, Backward, ActivationBuffer]:
        logits_BC, backward, buffer = run((trained[0], head), batch, buffer)
        return logits_BC, lambda cotangent_BC: (backward(cotangent_BC)[0], {}), buffer

    return run_rows


def _make_step(
    loss: str, optimizer: optax.GradientTransformation, run_shared: Run, run_mixed: Run
) -> Callable[[tuple, Batch], tuple[tuple, jax.Array]]:
    """Makes one step of both branches: ((trained, states, buffers), batch) -> (the same, loss)."""
    of_task = losses.make_loss(loss)

    def step(carry: tuple, batch: Batch) -> tuple[tuple, jax.Array]:
        (shared, personal_R), states, (buffer, mixed_buffer) = carry
        shared_BC, shared_backward, buffer = run_shared(shared, batch, buffer)
        mixed_in = ((personal_R, shared[1]), batch, mixed_buffer)
        mixed_BC, mixed_backward, mixed_buffer = run_mixed(*mixed_in)
        objective = make_branch_loss(loss, batch)
        gradients = (
            shared_backward(jax.grad(objective)(shared_BC, mixed_BC)),
            mixed_backward(jax.grad(objective)(mixed_BC, shared_BC))[0],
        )
        trained, states = _update(optimizer, gradients, states, (shared, personal_R))
        value = losses.masked_mean(of_task(shared_BC, batch), batch)
        return (trained, states, (buffer, mixed_buffer)), value

    return step


def make_branch_loss(loss: str, batch: Batch) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """Makes the loss of one branch, given the other branch's logits.

    Args:
      loss: A key of `losses.LOSSES`.
      batch: The examples.

    Returns:
      (logits_BC, others_BC) -> [], half the task's loss plus half the divergence, mean over the
      examples that count; no gradient flows to the other branch.
    """
    of_task = losses.make_loss(loss)

    def half_and_half(logits_BC: jax.Array, others_BC: jax.Array) -> jax.Array:
        others_BC = jax.lax.stop_gradient(others_BC)
        divergence_B = losses.distillation(logits_BC, others_BC, batch, TEMPERATURE)
        return losses.masked_mean(0.5 * (of_task(logits_BC, batch) + divergence_B), batch)

    return half_and_half


def _update(
    optimizer: optax.GradientTransformation, gradients: tuple, states: tuple, parts: tuple
) -> tuple[tuple, tuple]:
    """Updates each part with an optimizer state of its own."""
    updated, new_states = [], []
    for gradient_of_part, state, part in zip(gradients, states, parts, strict=True):
        updates, state = optimizer.update(gradient_of_part, state, part)
        updated.append(optax.apply_updates(part, updates))
        new_states.append(state)
    return tuple(updated), tuple(new_states)
