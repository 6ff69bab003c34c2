"""What has to be chosen this round? Scores, budgets, and each client's own choice."""

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Problem:
    """One round's selection problem; all of it is traced, so a new round compiles nothing.

    Attributes:
      scores_KL: float32, importance of every layer to every client, higher is better; finite.
      budgets_K: int32 in 1 … L, how many layers each client trains.
    """

    scores_KL: jax.Array
    budgets_K: jax.Array


def create(scores_KL: jax.Array, budgets_K: jax.Array) -> Problem:
    """Makes a problem of what the clients sent.

    Args:
      scores_KL: float [K, L]; a layer whose score is not finite is worth less than any other.
      budgets_K: int [K], 1 … L.

    Returns:
      Problem.
    """
    scores_KL = jnp.asarray(scores_KL, jnp.float32)
    finite_KL = jnp.isfinite(scores_KL)
    lowest = jnp.min(jnp.where(finite_KL, scores_KL, jnp.inf))
    highest = jnp.max(jnp.where(finite_KL, scores_KL, -jnp.inf))
    worthless = jnp.where(jnp.any(finite_KL), 2.0 * lowest - highest - 1.0, 0.0)
    return Problem(jnp.where(finite_KL, scores_KL, worthless), jnp.asarray(budgets_K, jnp.int32))


def own_choice(problem: Problem) -> jax.Array:
    """Takes every client's own most important layers (LNTK as a method of its own).

    Args:
      problem: of this round.

    Returns:
      mask_KL: bool, exactly the budget in every row; among equal scores the lower layers.
    """
    order_KL = jnp.argsort(-problem.scores_KL, axis=1, stable=True)
    places_KL = jnp.argsort(order_KL, axis=1)
    return places_KL < problem.budgets_K[:, None]
