"""Losses of answers, findings and written answers.

Every loss of an answer maps (logits_BC, labels_B) to loss_B in nats, float32. A label of -1 (an
answer outside the vocabulary) gives loss 0 and no gradient. `make_loss` adds the loss of findings
to one of them, and has that of written answers.
"""

from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from f3ocus_jax.models import head
from f3ocus_jax.types import Array, Batch

AnswerLoss: TypeAlias = Callable[[jax.Array, Array], jax.Array]
"""Maps (logits_BC, labels_B) to loss_B."""

Loss: TypeAlias = Callable[[jax.Array, Batch], jax.Array]
"""Maps (outputs of a model, their batch) to loss_B in nats, float32."""


def make_loss(name: str) -> Loss:
    """Makes the loss of an example's answer or findings, whichever it is asked for.

    Args:
      name: Loss of an answer, a key of `LOSSES`.

    Returns:
      Maps (logits_BC, batch) to loss_B. An example that is asked for findings has loss 0 for its
      answer, and the reverse. If the batch has the tokens of its answers, the outputs are
      logits_BAV and the loss is the negative log-probability of the whole answer, for any `name`.
    """
    of_answers = LOSSES[name]

    def loss(logits_BC: jax.Array, batch: Batch) -> jax.Array:
        if batch.answer_ids_BA is not None:
            answers = (jnp.asarray(batch.answer_ids_BA), jnp.asarray(batch.answer_mask_BA))
            return -log_likelihood(logits_BC, *answers)
        answers_BC, findings_BF = head.split(logits_BC, batch)
        if findings_BF is None or batch.targets_BF is None:
            return of_answers(answers_BC, batch.labels_B)
        loss_B = findings_loss(findings_BF, batch.targets_BF)
        if answers_BC.shape[-1]:
            loss_B = loss_B + of_answers(answers_BC, batch.labels_B)
        return loss_B

    return loss


def cross_entropy(logits_BC: jax.Array, labels_B: Array) -> jax.Array:
    """Negative log-probability of the right answer among all answers.

    Args:
      logits_BC: Logits of the answers.
      labels_B: int32 in [-1, C), indices of the right answers.

    Returns:
      loss_B, lower is better.
    """
    log_probability_BC = jax.nn.log_softmax(logits_BC, axis=-1)
    targets_BC = _one_hot(labels_B, logits_BC)
    return -jnp.sum(targets_BC * log_probability_BC, axis=-1)


def binary_cross_entropy(logits_BC: jax.Array, labels_B: Array) -> jax.Array:
    """Sum of one yes/no loss per answer, as ViLT is tuned for question answering.

    ViLT takes the mean over examples and answers times the number of answers, which is the mean
    over examples of this sum (Kim et al., 2021).

    Args:
      logits_BC: Logits of the answers.
      labels_B: int32 in [-1, C), indices of the right answers.

    Returns:
      loss_B, lower is better.
    """
    targets_BC = _one_hot(labels_B, logits_BC)
    right_BC = targets_BC * jax.nn.log_sigmoid(logits_BC)
    wrong_BC = (1.0 - targets_BC) * jax.nn.log_sigmoid(-logits_BC)
    return jnp.where(labels_B >= 0, -jnp.sum(right_BC + wrong_BC, axis=-1), 0.0)


def findings_loss(logits_BF: jax.Array, targets_BF: Array) -> jax.Array:
    """Mean over findings of one yes/no loss each, as torch's BCEWithLogitsLoss takes it.

    Args:
      logits_BF: Logits of the findings.
      targets_BF: 0, 1, or -1 for a finding that is not asked about.

    Returns:
      loss_B, lower is better; 0 for an example that is asked about no finding.
    """
    asked_BF = targets_BF >= 0
    right_BF = jnp.where(targets_BF > 0, logits_BF, -logits_BF)
    total_B = -jnp.sum(jnp.where(asked_BF, jax.nn.log_sigmoid(right_BF), 0.0), axis=-1)
    return total_B / jnp.maximum(jnp.sum(asked_BF, axis=-1), 1)


def distillation(
    logits_BC: jax.Array, others_BC: jax.Array, batch: Batch, temperature: float
) -> jax.Array:
    """Distillation loss of a student's outputs, in the task of each example.

    Args:
      logits_BC: Outputs of the student.
      others_BC: Outputs of the teacher.
      batch: Examples of the outputs.
      temperature: Temperature of `divergence`.

    Returns:
      loss_B: the divergence of the answers (its sum over the tokens of a written answer), or its
        mean
      over the findings, each of which is yes or no.
    """
    if batch.answer_ids_BA is not None:
        divergence_BA = divergence(logits_BC, others_BC, temperature)
        return jnp.sum(jnp.where(jnp.asarray(batch.answer_mask_BA) > 0, divergence_BA, 0.0), axis=1)
    students, teachers = head.split(logits_BC, batch), head.split(others_BC, batch)
    answers_BC, findings_BF = students
    if findings_BF is None or teachers[1] is None or batch.targets_BF is None:
        return divergence(answers_BC, teachers[0], temperature)
    asked_BF = batch.targets_BF >= 0
    student, teacher = (
        jnp.stack([logits_BF, jnp.zeros_like(logits_BF)], axis=-1)
        for logits_BF in (findings_BF, teachers[1])
    )
    divergence_BF = jnp.where(asked_BF, divergence(student, teacher, temperature), 0.0)
    findings_B = jnp.sum(divergence_BF, axis=-1) / jnp.maximum(jnp.sum(asked_BF, axis=-1), 1)
    if not answers_BC.shape[-1]:
        return findings_B
    answered_B = divergence(answers_BC, teachers[0], temperature)
    return jnp.where(asked_BF.any(axis=-1), findings_B, answered_B)


def divergence(logits_BC: jax.Array, target_BC: jax.Array, temperature: float) -> jax.Array:
    """Kullback-Leibler divergence of a student's answers from a teacher's (Hinton et al., 2015).

    Args:
      logits_BC: Logits of the student; any axes before the classes.
      target_BC: Logits of the teacher.
      temperature: Divisor of both.

    Returns:
      divergence_B in nats, times the square of the temperature, which keeps the size of its
      gradient.
    """
    student_BC = jax.nn.log_softmax(logits_BC / temperature, axis=-1)
    teacher_BC = jax.nn.log_softmax(target_BC / temperature, axis=-1)
    return temperature**2 * jnp.sum(jnp.exp(teacher_BC) * (teacher_BC - student_BC), axis=-1)


def log_likelihood(logits_BAV: jax.Array, ids_BA: jax.Array, mask_BA: jax.Array) -> jax.Array:
    """Sums the log-probabilities of an answer's tokens.

    Args:
      logits_BAV: Logits of every token.
      ids_BA: Token ids.
      mask_BA: 1 for a token and 0 for padding.

    Returns:
      float32 [B], at most 0.
    """
    logits_BAV = logits_BAV.astype(jnp.float32)
    picked_BA = jnp.take_along_axis(logits_BAV, ids_BA[..., None], axis=-1)[..., 0]
    log_BA = picked_BA - jax.nn.logsumexp(logits_BAV, axis=-1)
    return jnp.sum(jnp.where(mask_BA > 0, log_BA, 0.0), axis=1)


def masked_mean(loss_B: jax.Array, batch: Batch) -> jax.Array:
    """Averages a loss over the examples that have a known answer and are no padding.

    Args:
      loss_B: Loss of every example.
      batch: The examples.

    Returns:
      Scalar; 0 if no example counts.
    """
    return masked_sum(loss_B, batch) / jnp.maximum(jnp.sum(weights(batch)), 1.0)


def masked_sum(loss_B: jax.Array, batch: Batch) -> jax.Array:
    """Sums a loss over the same examples as `masked_mean`."""
    weight_B = weights(batch)
    # A padding example may hold anything, so its loss must be replaced, not multiplied by 0.
    return jnp.sum(jnp.where(weight_B > 0, loss_B * weight_B, 0.0))


def weights(batch: Batch) -> jax.Array:
    """Returns float32 [B], 0 for padding and for examples without a known answer or finding."""
    if batch.answer_ids_BA is not None:
        return jnp.asarray(batch.example_mask_B)  # any answer can be written
    known_B = batch.labels_B >= 0
    if batch.targets_BF is not None:
        known_B = known_B | (batch.targets_BF >= 0).any(axis=-1)
    return jnp.asarray(batch.example_mask_B) * known_B


def _one_hot(labels_B: Array, logits_BC: jax.Array) -> jax.Array:
    """Returns targets_BC; a row of zeros for label -1."""
    return jax.nn.one_hot(labels_B, logits_BC.shape[-1], dtype=logits_BC.dtype)


LOSSES: dict[str, AnswerLoss] = {
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
}
