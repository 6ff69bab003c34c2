"""How far does each layer move when the client trains all? FedSelect (Tamirisa et al. 2024)."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax

from f3ocus_jax.clients.gradient import ClientParams
from f3ocus_jax.importance import probe as probe_lib
from f3ocus_jax.importance.probe import Probe
from f3ocus_jax.importance.score import Score, norms
from f3ocus_jax.models import losses, units
from f3ocus_jax.models.base import Model


def make_fedselect(
    model: Model,
    *,
    optimizer: optax.GradientTransformation,
    fedselect_steps: int,
    **settings: Any,
) -> Score:
    """Makes the score.

    Args:
      model: the model.
      optimizer: of the run's local training.
      fedselect_steps: how many steps of it are taken.
      **settings: as `probe.make_probe` takes them.

    Returns:
      A Score with values >= 0.
    """
    values = functools.partial(movement, optimizer=optimizer, steps=fedselect_steps)
    return probe_lib.make_probe(values, model, **settings)


def movement(probe: Probe, *, optimizer: optax.GradientTransformation, steps: int) -> jax.Array:
    """Returns ‖θ_l after − θ_l before‖₂ over a short local training of all layers and the head.

    In the full method the elements that move most stay personal; here what moves most is chosen.

    Args:
      probe: of one client; its batches are trained on in turn.
      optimizer: starts anew.
      steps: how many are taken.

    Returns:
      values_L, >= 0.
    """
    filled = jnp.sum(jnp.sum(losses.weights(probe.batches_J), axis=1) > 0)

    def step(carry: tuple[ClientParams, optax.OptState], number: jax.Array) -> tuple[tuple, None]:
        trained, state = carry
        # Empty batches are the last ones, see `probe.deal`.
        batch = units.row_at(probe.batches_J, number % jnp.maximum(filled, 1))
        slope = jax.grad(lambda trained: probe.loss(trained[0], trained[1], batch))(trained)
        updates, state = optimizer.update(slope, state, trained)
        return (optax.apply_updates(trained, updates), state), None

    start = (probe.rows_L, probe.head)
    (trained, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(steps))
    moved = jax.tree.map(jnp.subtract, trained[0], probe.rows_L)
    return norms(moved, probe.reduction)
