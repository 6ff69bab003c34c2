"""FedSelect: distance that each layer moves in a short training of all (Tamirisa et al. 2024)."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import optax

from f3ocus_jax.clients.gradient import ClientParams
from f3ocus_jax.config import Section, setting
from f3ocus_jax.importance import probe as probe_lib
from f3ocus_jax.importance.probe import Probe
from f3ocus_jax.importance.score import Score, ScoreContext, norms
from f3ocus_jax.models import losses, units


@dataclasses.dataclass(frozen=True)
class FedSelectOptions(Section):
    """Options of FedSelect."""

    steps: int = setting(
        8, "Steps of local training on the probe examples.", at_least=1, at_most=100_000
    )


def make_fedselect(context: ScoreContext, options: FedSelectOptions) -> Score:
    """Makes the score.

    Args:
      context: Model, unit, loss, optimizer, reduction and batches.
      options: Number of steps.

    Returns:
      A Score with values >= 0.
    """
    values = functools.partial(movement, optimizer=context.optimizer, steps=options.steps)
    return probe_lib.make_probe(values, context)


def movement(probe: Probe, *, optimizer: optax.GradientTransformation, steps: int) -> jax.Array:
    """Returns ‖θ_l after − θ_l before‖₂ over a short local training of all layers and the head.

    In the full method the elements that move most stay personal; here what moves most is chosen.

    Args:
      probe: Layers and probe examples of one client; its batches are trained on in turn.
      optimizer: Optimizer; its state starts anew.
      steps: Number of steps.

    Returns:
      values_L, >= 0.
    """
    num_filled = jnp.sum(jnp.sum(losses.weights(probe.batches_J), axis=1) > 0)

    def step(carry: tuple[ClientParams, optax.OptState], number: jax.Array) -> tuple[tuple, None]:
        trained, state = carry
        # Empty batches are the last ones, see `probe.deal`.
        batch = units.row_at(probe.batches_J, number % jnp.maximum(num_filled, 1))
        slope = jax.grad(lambda trained: probe.loss(trained[0], trained[1], batch))(trained)
        updates, state = optimizer.update(slope, state, trained)
        return (optax.apply_updates(trained, updates), state), None

    start = (probe.rows_L, probe.head)
    (trained, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), jnp.arange(steps))
    moved = jax.tree.map(jnp.subtract, trained[0], probe.rows_L)
    return norms(moved, probe.reduction)
