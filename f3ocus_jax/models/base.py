"""What a vision-language model is to the rest of the system: four pure functions and a depth."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax

from f3ocus_jax.types import Batch, Params, Rows


@dataclasses.dataclass(frozen=True)
class Model:
    """A model whose blocks are the rows of a stack, so that choosing layers is indexing.

    Its parameters are a dict with these keys:
      embeddings: everything below the first block; frozen in federated training.
      blocks: the transformer blocks, a pytree with leading axis L.
      adapters: one bottleneck adapter per block, leading axis L; `{}` in a model without adapters.
      readout: everything between the last block and the head; frozen in federated training.
      head: an entry per kind of task, see `head.py`; a client trains that of its own.

    Attributes:
      num_layers: L.
      num_answers: classes of the answer head that `init` draws.
      init: key -> parameters.
      embed: (embeddings, batch) -> (hidden_BTD, context). T counts text and image tokens; context
        is a pytree of whatever every block needs beside its input, such as the attention mask.
      block: (one row of blocks, one row of adapters, hidden_BTD, context) -> hidden_BTD.
      readout: (readout, head, hidden_BTD, context) -> logits_BC.
    """

    num_layers: int
    num_answers: int
    init: Callable[[jax.Array], Params]
    embed: Callable[[Params, Batch], tuple[jax.Array, Any]]
    block: Callable[[Rows, Rows, jax.Array, Any], jax.Array]
    readout: Callable[[Params, Params, jax.Array, Any], jax.Array]


def apply(model: Model, params: Params, batch: Batch) -> jax.Array:
    """Runs the whole model.

    Args:
      model: the model.
      params: its parameters.
      batch: B examples.

    Returns:
      logits_BC, float32.
    """
    hidden_BTD, context = model.embed(params["embeddings"], batch)

    def step(hidden_BTD: jax.Array, row: tuple[Rows, Rows]) -> tuple[jax.Array, None]:
        return model.block(*row, hidden_BTD, context), None

    rows = (params["blocks"], params["adapters"])
    hidden_BTD, _ = jax.lax.scan(step, hidden_BTD, rows)
    return model.readout(params["readout"], params["head"], hidden_BTD, context)
