"""Local training by DP-SGD (Abadi et al., 2016): clipped per-example gradients plus noise."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from f3ocus_jax.clients import local
from f3ocus_jax.clients.gradient import ClientParams
from f3ocus_jax.clients.local import LocalTask, LocalUpdate, Train
from f3ocus_jax.models.base import Model
from f3ocus_jax.privacy.clipped_gradient import make_clipped_sum
from f3ocus_jax.privacy.noise import add_noise
from f3ocus_jax.privacy.settings import PrivacyConfig
from f3ocus_jax.types import Batch, Params, Rows


def make_private_training(
    model: Model,
    *,
    unit: str,
    loss: str,
    optimizer: optax.GradientTransformation,
    privacy: PrivacyConfig,
    skip_frozen: bool,
    accumulate: int = 1,
    proximal: float = 0.0,
) -> Train:
    """Makes the local training of one client.

    Args:
      model: The model.
      unit: A key of `units.UNITS`.
      loss: A key of `losses.LOSSES`.
      optimizer: See `local.make_local_training`. It sees noised gradients alone.
      privacy: Largest norm C of one example's gradient, rows and head together, and the standard
        deviation of the noise in a step's sum, divided by C.
      skip_frozen: See `gradient.make_forward`.
      accumulate: Parts that a batch is run in.
      proximal: See `local.make_local_training`; the term has no examples in it.

    Returns:
      train(frozen, rows_L, head, task) -> LocalUpdate, for tasks with `noise`. Losses are 0: they
      are no part of what is accounted for.
    """

    deviation = privacy.clip * privacy.noise_multiplier

    def train(frozen: Params, rows_L: Rows, head: Params, task: LocalTask) -> LocalUpdate:
        trains_head = task.trains_head
        clipped_sum = make_clipped_sum(
            model,
            unit=unit,
            loss=loss,
            clip=privacy.clip,
            skip_frozen=skip_frozen,
            trains_head=trains_head,
            parts=accumulate,
        )
        if task.noise is None:
            raise ValueError("a task of private training has no noise; give LocalTask.noise")
        key = jax.random.wrap_key_data(jnp.asarray(task.noise.key_data))
        size = task.noise.batch_size
        sums = functools.partial(clipped_sum, frozen, rows_L, task.choice)

        def run(
            trained: ClientParams, batch: Batch, number: Any
        ) -> tuple[jax.Array, ClientParams, Any]:
            found, _ = sums((trained[0], trained[1] if trains_head else head), batch)
            found = (found[0], found[1] if trains_head else {})
            noisy = add_noise(found, jax.random.fold_in(key, number), deviation)
            gradient = jax.tree.map(lambda leaf: leaf / size, noisy)
            return jnp.float32(0.0), gradient, number + 1

        start = (task.choice.take(rows_L), head if trains_head else {})
        used, state = local.start_optimizer(optimizer, start, task)
        step = local.make_step(run, used, proximal, start)
        carry = (start, state, jnp.int32(0))
        (trained, state, _), losses_S = local.take_steps(step, carry, task)
        new_head = trained[1] if trains_head else head
        kept = local.keep_optimizer(state, task)
        return LocalUpdate(trained[0], new_head, losses_S, optimizer=kept)

    return train
