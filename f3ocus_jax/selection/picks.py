"""Rules that pick one point of the front; the paper leaves this choice open."""

import jax
import jax.numpy as jnp

from f3ocus_jax.selection import pareto


def knee(objectives_PM: jax.Array, valid_P: jax.Array, value: float = 0.0) -> jax.Array:
    """Picks the point farthest from the line between the front's ends, axes scaled to [0, 1].

    Args:
      objectives_PM: float32 [P, 2], minimised; the valid points form a front.
      valid_P: bool [P], rows in use.
      value: Unused.

    Returns:
      int32 scalar, row of the point; the most important one among ties.
    """
    del value
    scaled_PM, _ = pareto.scaled(objectives_PM, valid_P)
    distance_P = jnp.where(valid_P, 1.0 - jnp.sum(scaled_PM, axis=1), -jnp.inf)
    return _first(distance_P >= jnp.max(distance_P), objectives_PM[:, 0])


def importance(objectives_PM: jax.Array, valid_P: jax.Array, value: float) -> jax.Array:
    """Picks the most important point whose variance is at most `value`.

    Args:
      objectives_PM: float32 [P, 2], minimised.
      valid_P: bool [P], rows in use.
      value: Largest variance allowed.

    Returns:
      int32 scalar, row of the point; the one with the least variance if none is low enough.
    """
    low_enough_P = valid_P & (objectives_PM[:, 1] <= value)
    flattest = _first(valid_P, objectives_PM[:, 1])
    return jnp.where(
        jnp.any(low_enough_P), _first(low_enough_P, objectives_PM[:, 0]), flattest
    ).astype(jnp.int32)


def index(objectives_PM: jax.Array, valid_P: jax.Array, value: float) -> jax.Array:
    """Picks the point at an index of the front, counted from the least important.

    Args:
      objectives_PM: float32 [P, 2], minimised.
      valid_P: bool [P], rows in use.
      value: Index on the front, 0 for the least important point; clipped to the front's ends.

    Returns:
      int32 scalar, row of the point.
    """
    order_P = jnp.argsort(jnp.where(valid_P, -objectives_PM[:, 0], jnp.inf))
    position = jnp.clip(jnp.int32(value), 0, jnp.sum(valid_P) - 1)
    return order_P[position].astype(jnp.int32)


def _first(candidates_P: jax.Array, values_P: jax.Array) -> jax.Array:
    return jnp.argmin(jnp.where(candidates_P, values_P, jnp.inf)).astype(jnp.int32)
