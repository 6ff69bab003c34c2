"""What does the model answer to many examples?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.clients import placement
from f3ocus_jax.data.examples import Examples
from f3ocus_jax.models import base, losses
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params

BATCHES_AT_ONCE = 64
"""Batches handed to the devices in one call: bounds what is copied, whatever the data's size."""

Predict = Callable[[Params, Examples], tuple[np.ndarray, np.ndarray]]


def create(model: Model, *, loss: str, batch_size: int, placement_name: str) -> Predict:
    """Makes the function that runs the model over a split.

    Args:
      model: the model.
      loss: a key of `losses.LOSSES`.
      batch_size: examples per device and step.
      placement_name: a key of `placement.BACKENDS`; batches are spread as clients are.

    Returns:
      (params, examples) -> (predictions_N int32, losses_N float32); the loss of an answer outside
      the vocabulary is 0.
    """

    def one_batch(params: Params, batch: Batch) -> tuple[jax.Array, jax.Array]:
        logits_BC = base.apply(model, params, batch)
        loss_B = losses.LOSSES[loss](logits_BC, batch.labels_B)
        return jnp.argmax(logits_BC, axis=-1).astype(jnp.int32), loss_B

    over_batches = placement.create(one_batch, placement=placement_name)

    def predict(params: Params, examples: Examples) -> tuple[np.ndarray, np.ndarray]:
        count = len(examples)
        num_batches = -(-count // batch_size)
        at_once = min(BATCHES_AT_ONCE, num_batches)
        num_batches = -(-num_batches // at_once) * at_once
        places = np.arange(num_batches * batch_size).reshape(-1, at_once, batch_size)
        outputs: list[Any] = [
            over_batches(params, examples.batch(np.minimum(chunk, count - 1))) for chunk in places
        ]
        predictions, values = (np.concatenate([o[i] for o in outputs]) for i in range(2))
        return predictions.reshape(-1)[:count], values.reshape(-1)[:count]

    return predict
