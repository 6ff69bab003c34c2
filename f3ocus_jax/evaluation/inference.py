"""What does the model say of many examples?"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients import placement
from f3ocus_jax.data.examples import Examples
from f3ocus_jax.models import base, head, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Params

BATCHES_AT_ONCE = 64
"""Batches handed to the devices in one call: bounds what is copied, whatever the data's size."""


class Outputs(NamedTuple):
    """What a model says of N examples.

    Attributes:
      losses_N: float32, in nats; 0 where nothing that is asked is known.
      answers_N: int32, index of the likeliest answer; None for a model without answers.
      findings_NF: float32, probability of each finding; None for a model without findings.
      texts_N: normalised answers as they were written; None for a model that writes none.
    """

    losses_N: Array
    answers_N: Array
    findings_NF: Array
    texts_N: np.ndarray | None = None

    def part(self, places: slice) -> "Outputs":
        """Returns what was said of some of the examples."""
        return jax.tree.map(lambda leaf: leaf[places], self)


Predict = Callable[[Params, Examples], Outputs]


def make_predict(model: Model, *, loss: str, batch_size: int, placement_name: str) -> Predict:
    """Makes the function that runs the model over a split.

    Args:
      model: the model.
      loss: a key of `losses.LOSSES`.
      batch_size: examples per device and step.
      placement_name: a key of `backends.BACKENDS`; batches are spread as clients are.

    Returns:
      (params, examples) -> Outputs, as NumPy arrays.
    """
    per_example = losses.make_loss(loss)

    def one_batch(params: Params, batch: Batch) -> Outputs:
        logits_BC = base.apply(model, params, batch)
        answers_BC, findings_BF = head.split(logits_BC, batch)
        return Outputs(
            losses_N=per_example(logits_BC, batch),
            answers_N=_likeliest(answers_BC) if answers_BC.shape[-1] else None,
            findings_NF=None if findings_BF is None else jax.nn.sigmoid(findings_BF),
        )

    return over_split(one_batch, batch_size, placement_name)


def over_split(
    one_batch: Callable[[Params, Batch], Outputs], batch_size: int, placement_name: str
) -> Predict:
    """Makes the function that runs batch after batch and puts the outputs behind each other.

    Args:
      one_batch: (params, batch) -> Outputs.
      batch_size: examples per device and step.
      placement_name: a key of `backends.BACKENDS`.

    Returns:
      (params, examples) -> Outputs, as NumPy arrays.
    """
    over_batches = placement.make_map(one_batch, placement=placement_name)

    def predict(params: Params, examples: Examples) -> Outputs:
        count = len(examples)
        num_batches = -(-count // batch_size)
        at_once = min(BATCHES_AT_ONCE, num_batches)
        num_batches = -(-num_batches // at_once) * at_once
        places = np.arange(num_batches * batch_size).reshape(-1, at_once, batch_size)
        chunks = [
            over_batches(params, examples.batch(np.minimum(chunk, count - 1))) for chunk in places
        ]

        def joined(*leaves: np.ndarray) -> np.ndarray:
            whole = np.concatenate(leaves)
            return whole.reshape(-1, *whole.shape[2:])[:count]

        return jax.tree.map(joined, *chunks)

    return predict


def _likeliest(logits_BC: jax.Array) -> jax.Array:
    return jnp.argmax(logits_BC, axis=-1).astype(jnp.int32)
