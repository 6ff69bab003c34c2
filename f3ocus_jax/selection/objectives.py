"""Objectives of a choice of layers: importance and variance, and the only change of their signs."""

import jax
import jax.numpy as jnp


def objectives(mask_KL: jax.Array, scores_KL: jax.Array) -> jax.Array:
    """Evaluates choices of layers (F³OCUS, section 3.3).

    Args:
      mask_KL: bool [..., K, L], client k trains layer l.
      scores_KL: float32 [K, L], importance S of every layer to every client.

    Returns:
      objectives_M: float32 [..., 2], both to be minimised: minus the importance, then the variance.
    """
    scores_KL = jnp.broadcast_to(scores_KL, mask_KL.shape)
    importance = jnp.sum(jnp.where(mask_KL, scores_KL, 0.0), axis=(-2, -1))
    return from_totals(importance, jnp.sum(mask_KL, axis=-2))


def from_totals(importance: jax.Array, histogram_L: jax.Array) -> jax.Array:
    """Evaluates a choice from its running totals.

    Args:
      importance: float32 [...], Σ_k Σ_l m_kl S_kl.
      histogram_L: int32 [..., L], n_l = Σ_k m_kl, number of clients that picked each layer.

    Returns:
      objectives_M: float32 [..., 2], both to be minimised: minus the importance, then the variance
      (1/L) Σ_l (n_l − n̄)² of the layer-pick histogram.
    """
    # Integers, so that equal variances compare as equal whatever the order of layers.
    layers = histogram_L.shape[-1]
    total = jnp.sum(histogram_L, axis=-1, keepdims=True)
    deviation_L = histogram_L - total // layers
    squares = jnp.sum(deviation_L**2, axis=-1).astype(jnp.float32)
    fraction = (total % layers)[..., 0].astype(jnp.float32) / layers
    return jnp.stack([-importance, squares / layers - fraction**2], axis=-1)


def as_reported(objectives_M: jax.Array) -> jax.Array:
    """Converts minimised objectives to (importance, variance) as reported, and back.

    Args:
      objectives_M: float32 [..., 2].

    Returns:
      float32 [..., 2], the importance with its own sign.
    """
    return jnp.stack([-objectives_M[..., 0], objectives_M[..., 1]], axis=-1)
