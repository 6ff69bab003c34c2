"""How wrong is an answer, per example?

Every loss takes (logits_BC, labels_B) and returns loss_B in nats, float32. A label of -1 (an answer
outside the vocabulary) gives loss 0 and no gradient.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from f3ocus_jax.types import Batch

Loss: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]


def cross_entropy(logits_BC: jax.Array, labels_B: jax.Array) -> jax.Array:
    """Negative log-probability of the right answer among all answers.

    Args:
      logits_BC: float.
      labels_B: int32 in [-1, C).

    Returns:
      loss_B, lower is better.
    """
    log_probability_BC = jax.nn.log_softmax(logits_BC, axis=-1)
    targets_BC = _one_hot(labels_B, logits_BC)
    return -jnp.sum(targets_BC * log_probability_BC, axis=-1)


def binary_cross_entropy(logits_BC: jax.Array, labels_B: jax.Array) -> jax.Array:
    """Sum of one yes/no loss per answer, as ViLT is tuned for question answering.

    ViLT takes the mean over examples and answers times the number of answers, which is the mean
    over examples of this sum (Kim et al., 2021).

    Args:
      logits_BC: float.
      labels_B: int32 in [-1, C).

    Returns:
      loss_B, lower is better.
    """
    targets_BC = _one_hot(labels_B, logits_BC)
    right_BC = targets_BC * jax.nn.log_sigmoid(logits_BC)
    wrong_BC = (1.0 - targets_BC) * jax.nn.log_sigmoid(-logits_BC)
    return jnp.where(labels_B >= 0, -jnp.sum(right_BC + wrong_BC, axis=-1), 0.0)


def masked_mean(loss_B: jax.Array, batch: Batch) -> jax.Array:
    """Averages a loss over the examples that are neither padding nor without a known answer.

    Args:
      loss_B: from one of the losses of this file.
      batch: the examples it was taken on.

    Returns:
      [], 0 if no example counts.
    """
    weight_B = weights(batch)
    # A padding example may hold anything, so its loss must be replaced, not multiplied by 0.
    total = jnp.sum(jnp.where(weight_B > 0, loss_B * weight_B, 0.0))
    return total / jnp.maximum(jnp.sum(weight_B), 1.0)


def weights(batch: Batch) -> jax.Array:
    """Tells which examples count: float32 [B], 0 for padding and for an answer not known."""
    return batch.example_mask_B * (batch.labels_B >= 0)


def _one_hot(labels_B: jax.Array, logits_BC: jax.Array) -> jax.Array:
    """Returns targets_BC; a row of zeros for label -1."""
    return jax.nn.one_hot(labels_B, logits_BC.shape[-1], dtype=logits_BC.dtype)


LOSSES: dict[str, Loss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
}
