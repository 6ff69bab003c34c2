"""What a vision-language model is to the rest of the system: four pure functions and a depth."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.models.blocks import lora
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.sizes import GENERATE, Sizes
from f3ocus_jax.types import Batch, Params, Rows

ROW_KEYS = ("blocks", "adapters", "lora")
"""Parts of a model's parameters with a leading layer axis."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model whose blocks are the rows of a stack, so that choosing layers is indexing.

    Its parameters are a dict with these keys:
      embeddings: everything below the first block; frozen in federated training.
      blocks: the transformer blocks, a pytree with leading axis L.
      adapters: one bottleneck adapter per block, leading axis L; `{}` in a model without adapters.
      lora: low-rank changes of the blocks, leading axis L; absent in a model without them.
      readout: everything between the last block and the head; frozen in federated training.
      head: an entry per kind of task, see `head.py`; a client trains that of its own.

    Attributes:
      num_layers: L.
      num_answers: classes of the answer head that `init` draws.
      init: key -> parameters.
      embed: (embeddings, batch) -> (hidden_BTD, context). T counts text and image tokens; context
        is a pytree of whatever every block needs beside its input, such as the attention mask.
      block: (one row of blocks, one row of adapters, hidden_BTD, context) -> hidden_BTD.
      readout: (readout, head, hidden_BTD, context) -> logits_BC; logits_BAV of the tokens of the
        batch's answers where the model writes answers, which has no head then.
      extend: (context, tokens) -> the context of blocks with so many tokens more in front of their
        input, which all see and are seen; None if the blocks take no further tokens.
      generator: How it writes answers; None for a model with an answer head.
    """

    num_layers: int
    num_answers: int
    init: Callable[[jax.Array], Params]
    embed: Callable[[Params, Batch], tuple[jax.Array, Any]]
    block: Callable[[Rows, Rows, jax.Array, Any], jax.Array]
    readout: Callable[[Params, Params, jax.Array, Any], jax.Array]
    extend: Callable[[Any, int], Any] | None = None
    generator: Generator | None = None


def of_config(
    config: Sizes,
    *,
    init: Callable[..., Params],
    embed: Callable[..., tuple[jax.Array, Any]],
    block: Callable[..., jax.Array],
    readout: Callable[..., jax.Array],
    extend: Callable[..., Any],
    make_generator: Callable[[Any, Model], Generator],
) -> Model:
    """Makes a model of functions that all take its sizes in front of what `Model` says.

    Args:
      config: sizes of the model.
      init: draws parameters.
      embed: runs what is below the selectable stack.
      block: runs one block of it.
      readout: runs what is above it.
      extend: widens a context.
      make_generator: Maps (sizes, model without a generator) to the generator, if the model writes.

    Returns:
      The model.
    """

    def bind(function: Callable[..., Any]) -> Callable[..., Any]:
        return functools.partial(function, config)

    model = Model(
        num_layers=config.rows[0],
        num_answers=config.num_answers,
        # Drawing one array after the other would compile each of them on its own.
        init=jax.jit(bind(init)),
        embed=bind(embed),
        block=bind(block),
        readout=bind(readout),
        extend=bind(extend),
    )
    if config.answering != GENERATE:
        return model
    return dataclasses.replace(model, generator=make_generator(config, model))


def apply(model: Model, params: Params, batch: Batch) -> jax.Array:
    """Runs the whole model.

    Args:
      model: the model.
      params: its parameters.
      batch: B examples.

    Returns:
      What `Model.readout` gives, float32.
    """
    hidden_BTD, context = encode(model, params, batch)
    return model.readout(params["readout"], params["head"], hidden_BTD, context)


def encode(model: Model, params: Params, batch: Batch) -> tuple[jax.Array, Any]:
    """Runs the model up to the last block of its selectable stack.

    Args:
      model: the model.
      params: its parameters.
      batch: B examples.

    Returns:
      (hidden_BTD, context).
    """
    hidden_BTD, context = model.embed(params["embeddings"], batch)

    def step(hidden_BTD: jax.Array, row: Params) -> tuple[jax.Array, None]:
        return run_block(model, row, hidden_BTD, context), None

    rows = {key: params[key] for key in ROW_KEYS if key in params}
    hidden_BTD, _ = jax.lax.scan(step, hidden_BTD, rows)
    return hidden_BTD, context


def run_block(model: Model, row: Params, hidden_BTD: jax.Array, context: Any) -> jax.Array:
    """Runs one block with all that is added to it.

    Args:
      model: the model.
      row: one row of each of `ROW_KEYS` that the model has.
      hidden_BTD: its input.
      context: as `Model.embed` made it.

    Returns:
      hidden_BTD, of the input's dtype.
    """
    with lora.applied(row.get("lora")):
        output_BTD = model.block(row["blocks"], row["adapters"], hidden_BTD, context)
    # Parameters of another precision must not change that of the hidden states.
    return output_BTD.astype(hidden_BTD.dtype)


def in_precision(model: Model, dtype: jnp.dtype) -> Model:
    """Makes the model whose blocks compute in another precision, given parameters that have it.

    Args:
      model: the model.
      dtype: of hidden states and of what blocks need beside them.

    Returns:
      The model; its logits are float32.
    """

    def embed(params: Params, batch: Batch) -> tuple[jax.Array, Any]:
        return cast(model.embed(params, batch), dtype)

    def readout(params: Params, head: Params, hidden: jax.Array, context: Any) -> jax.Array:
        return model.readout(params, head, hidden, context).astype(jnp.float32)

    return dataclasses.replace(model, embed=embed, readout=readout)


def cast(tree: Any, dtype: jnp.dtype) -> Any:
    """Returns a pytree with floats of another precision; what is below its range is its least."""

    def convert(leaf: jax.Array) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        # The least float32, which hides padding, would become an infinity.
        return jnp.maximum(leaf, jnp.finfo(dtype).min).astype(dtype)

    return jax.tree.map(convert, tree)
