"""Bounded archive of the best front found so far."""

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.selection import choices as choices_lib, pareto
from f3ocus_jax.selection.choices import Choices


@struct.dataclass
class Archive:
    """The best front so far, truncated to P choices by crowding distance.

    Attributes:
      choices: P choices, the least crowded first, unused slots last.
      objectives_PM: float32, minimised.
      valid_P: bool, slots in use; at least the first.
    """

    choices: Choices
    objectives_PM: jax.Array
    valid_P: jax.Array


def make_archive(choices: Choices) -> Archive:
    """Makes an archive of the front of P evaluated choices."""
    objectives_PM = choices.objectives()
    return _keep(choices, objectives_PM, jnp.ones(len(choices), bool), len(choices))


def merge(archive: Archive, choices: Choices, objectives_PM: jax.Array) -> Archive:
    """Merges new choices into the archive.

    Args:
      archive: Archive so far.
      choices: New choices.
      objectives_PM: float32, objectives of the new choices, minimised.

    Returns:
      The archive of the front of both.
    """
    valid_P = jnp.concatenate([archive.valid_P, jnp.ones(len(choices), bool)])
    both_PM = jnp.concatenate([archive.objectives_PM, objectives_PM])
    both = choices_lib.concatenate(archive.choices, choices)
    return _keep(both, both_PM, valid_P, len(archive.valid_P))


def draw(uniform_P: jax.Array, archive: Archive, fraction: float = 1.0) -> jax.Array:
    """Draws members uniformly.

    Args:
      uniform_P: float32 in [0, 1), one number per member to draw.
      archive: Archive to draw from.
      fraction: Fraction of the members, the least crowded ones, that may be drawn.

    Returns:
      int32 [P], indices into the archive.
    """
    members = jnp.maximum(jnp.sum(archive.valid_P) * fraction, 1.0)
    return (uniform_P * members).astype(jnp.int32)


def best_for(archive: Archive, weights_P: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds the member with the least weighted sum of the objectives, both scaled to [0, 1].

    Args:
      archive: Archive that holds the front.
      weights_P: float32 in [0, 1], weight of the importance against the variance.

    Returns:
      (int32 [P], indices into the archive; extent_M, float32 [2], the archive's extent).
    """
    scaled_PM, extent_M = pareto.scaled(archive.objectives_PM, archive.valid_P)
    both_PM = jnp.stack([weights_P, 1.0 - weights_P], axis=1)
    costs_QP = jnp.where(archive.valid_P[:, None], scaled_PM @ both_PM.T, jnp.inf)
    return pareto.first_smallest(costs_QP)[0], extent_M


def _keep(choices: Choices, objectives_PM: jax.Array, valid_P: jax.Array, size: int) -> Archive:
    order_P, members = pareto.by_crowding(objectives_PM, valid_P)
    kept_P = order_P[:size]
    return Archive(
        choices_lib.take(choices, kept_P), objectives_PM[kept_P], jnp.arange(size) < members
    )
