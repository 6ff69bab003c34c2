"""Inference over a split: losses, answers and finding probabilities of every example."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients import placement
from f3ocus_jax.config.kept import kept
from f3ocus_jax.data.examples import Examples
from f3ocus_jax.models import base, head, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Params

BATCHES_AT_ONCE = 64
"""Batches per call to the devices, which bounds the memory of their copies."""


class Outputs(NamedTuple):
    """Outputs of a model for N examples.

    Attributes:
      losses_N: float32 loss in nats; 0 for an example without a known label.
      answers_N: int32 index of the likeliest answer; None for a model without answers.
      findings_NF: float32 probability of each finding; None for a model without findings.
      texts_N: Normalised answers that the model wrote; None for a model with an answer head.
    """

    losses_N: Array
    answers_N: Array | None
    findings_NF: Array | None
    texts_N: np.ndarray | None = None

    def select(self, indices: slice) -> "Outputs":
        """Returns the outputs of some of the examples."""
        return jax.tree.map(lambda leaf: leaf[indices], self)


Predict = Callable[[Params, Examples], Outputs]


@kept
def make_predict(model: Model, *, loss: str, batch_size: int, placement_name: str) -> Predict:
    """Makes the function that runs the model over a split.

    Args:
      model: Model to run.
      loss: Key of `losses.LOSSES`.
      batch_size: Examples per device and step.
      placement_name: Key of `backends.BACKENDS`; batches are distributed like clients.

    Returns:
      (params, examples) -> Outputs, as NumPy arrays.
    """
    per_example = losses.make_loss(loss)

    def predict_batch(params: Params, batch: Batch) -> Outputs:
        logits_BC = base.apply(model, params, batch)
        answers_BC, findings_BF = head.split(logits_BC, batch)
        return Outputs(
            losses_N=per_example(logits_BC, batch),
            answers_N=_likeliest(answers_BC) if answers_BC.shape[-1] else None,
            findings_NF=None if findings_BF is None else jax.nn.sigmoid(findings_BF),
        )

    return make_batched_predict(predict_batch, batch_size, placement_name)


def make_batched_predict(
    predict_batch: Callable[[Params, Batch], Outputs], batch_size: int, placement_name: str
) -> Predict:
    """Makes the function that runs over a split in batches and concatenates the outputs.

    Args:
      predict_batch: Maps (params, batch) to Outputs.
      batch_size: Examples per device and step.
      placement_name: Key of `backends.BACKENDS`.

    Returns:
      (params, examples) -> Outputs, as NumPy arrays.
    """
    named = jax.named_scope("evaluate")(predict_batch)
    over_batches = placement.make_map(named, placement=placement_name)

    def predict(params: Params, examples: Examples) -> Outputs:
        count = len(examples)
        calls, at_once = batches_of(count, batch_size)
        indices = np.arange(calls * at_once * batch_size).reshape(calls, at_once, batch_size)
        chunks = [
            over_batches(params, examples.batch(np.minimum(chunk, count - 1))) for chunk in indices
        ]

        def concatenated(*leaves: np.ndarray) -> np.ndarray:
            whole = np.concatenate(leaves)
            return whole.reshape(-1, *whole.shape[2:])[:count]

        return jax.tree.map(concatenated, *chunks)

    return predict


def batches_of(count: int, batch_size: int) -> tuple[int, int]:
    """Returns how a split is cut: (calls to the devices, batches of each), padding included.

    Args:
      count: Number of examples, at least 1.
      batch_size: Examples of a batch.

    >>> batches_of(100, 64), batches_of(5000, 64)
    ((1, 2), (2, 64))
    """
    num_batches = -(-count // batch_size)
    at_once = min(BATCHES_AT_ONCE, num_batches)
    return -(-num_batches // at_once), at_once


def _likeliest(logits_BC: jax.Array) -> jax.Array:
    return jnp.argmax(logits_BC, axis=-1).astype(jnp.int32)
