"""How wrong is what a model says of an example?

Every loss of an answer takes (logits_BC, labels_B) and returns loss_B in nats, float32. A label of
-1 (an answer outside the vocabulary) gives loss 0 and no gradient. `create` adds the loss of
findings to one of them.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from f3ocus_jax.models import head
from f3ocus_jax.types import Batch

AnswerLoss: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
"""(logits_BC, labels_B) -> loss_B."""

Loss: TypeAlias = Callable[[jax.Array, Batch], jax.Array]
"""(a model's outputs, the batch they are of) -> loss_B in nats, float32."""


def create(name: str) -> Loss:
    """Makes the loss of whatever is asked of an example: its answer, its findings, or either.

    Args:
      name: a key of `LOSSES`, the loss of an answer.

    Returns:
      (logits_BC, batch) -> loss_B. An example that is asked for one has loss 0 for the other.
    """
    of_answers = LOSSES[name]

    def loss(logits_BC: jax.Array, batch: Batch) -> jax.Array:
        answers_BC, findings_BF = head.split(logits_BC, batch)
        if findings_BF is None or batch.targets_BF is None:
            return of_answers(answers_BC, batch.labels_B)
        loss_B = findings_loss(findings_BF, batch.targets_BF)
        if answers_BC.shape[-1]:
            loss_B = loss_B + of_answers(answers_BC, batch.labels_B)
        return loss_B

    return loss


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


def findings_loss(logits_BF: jax.Array, targets_BF: jax.Array) -> jax.Array:
    """Mean over findings of one yes/no loss each, as torch's BCEWithLogitsLoss takes it.

    Args:
      logits_BF: float.
      targets_BF: 0, 1, or -1 for a finding that is not asked about.

    Returns:
      loss_B, lower is better; 0 for an example that is asked about none.
    """
    asked_BF = targets_BF >= 0
    right_BF = jnp.where(targets_BF > 0, logits_BF, -logits_BF)
    total_B = -jnp.sum(jnp.where(asked_BF, jax.nn.log_sigmoid(right_BF), 0.0), axis=-1)
    return total_B / jnp.maximum(jnp.sum(asked_BF, axis=-1), 1)


def masked_mean(loss_B: jax.Array, batch: Batch) -> jax.Array:
    """Averages a loss over the examples that are neither padding nor without a known answer.

    Args:
      loss_B: from a loss of this file.
      batch: the examples it was taken on.

    Returns:
      [], 0 if no example counts.
    """
    weight_B = weights(batch)
    # A padding example may hold anything, so its loss must be replaced, not multiplied by 0.
    total = jnp.sum(jnp.where(weight_B > 0, loss_B * weight_B, 0.0))
    return total / jnp.maximum(jnp.sum(weight_B), 1.0)


def weights(batch: Batch) -> jax.Array:
    """Tells which examples count: float32 [B], 0 for padding and where nothing asked is known."""
    known_B = batch.labels_B >= 0
    if batch.targets_BF is not None:
        known_B = known_B | (batch.targets_BF >= 0).any(axis=-1)
    return batch.example_mask_B * known_B


def _one_hot(labels_B: jax.Array, logits_BC: jax.Array) -> jax.Array:
    """Returns targets_BC; a row of zeros for label -1."""
    return jax.nn.one_hot(labels_B, logits_BC.shape[-1], dtype=logits_BC.dtype)


LOSSES: dict[str, AnswerLoss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
}
