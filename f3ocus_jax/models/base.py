"""Interface of a vision-language model to the rest of the system: pure functions and a depth."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from f3ocus_jax.config.kept import kept
from f3ocus_jax.models import head as head_lib
from f3ocus_jax.models.blocks import adapters, lora
from f3ocus_jax.models.generation.generator import Generator
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params, Rows

ROW_KEYS = ("blocks", "adapters", "lora")
"""Keys of a model's parameters that have a leading layer axis."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A model whose blocks are the rows of a stack, so that selecting layers is indexing.

    Its parameters are a dict with these keys:
      embeddings: Everything before the first block; frozen in federated training.
      blocks: Transformer blocks, a pytree with leading axis L.
      adapters: One bottleneck adapter per block, leading axis L; `{}` in a model without adapters.
      lora: Low-rank changes of the blocks, leading axis L; absent in a model without them.
      readout: Everything between the last block and the head; frozen in federated training.
      head: One entry per kind of task, see `head.py`; a client trains the one of its task.

    Attributes:
      num_layers: L.
      num_answers: Classes of the answer head that `init` draws.
      init: Maps a typed random key to parameters.
      embed: Maps (embeddings, batch) to (hidden_BTD, context). T counts text and image tokens; the
        context is a pytree of all that the blocks need beside their input, such as a mask.
      block: Maps (one row of blocks, one row of adapters, hidden_BTD, context) to hidden_BTD.
      readout: Maps (readout, head, hidden_BTD, context) to logits_BC. A model that writes answers
        has no head, and gives logits_BAV of the tokens of the batch's answers.
      extend: Maps (context, tokens) to the context of blocks with so many further tokens in front
        of their input, which attend to all and are attended to by all; None if the blocks take no
        further tokens.
      generator: Generator of its answers; None for a model with an answer head.
    """

    num_layers: int
    num_answers: int
    init: Callable[[jax.Array], Params]
    embed: Callable[[Params, Batch], tuple[jax.Array, Any]]
    block: Callable[[Rows, Rows, jax.Array, Any], jax.Array]
    readout: Callable[[Params, Params, jax.Array, Any], jax.Array]
    extend: Callable[[Any, int], Any] | None = None
    generator: Generator | None = None


def model_factory(
    *,
    init: Callable[..., Params],
    embed: Callable[..., tuple[jax.Array, Any]],
    block: Callable[..., jax.Array],
    readout: Callable[..., jax.Array],
    extend: Callable[..., Any],
    make_generator: Callable[[Any, Model], Generator] | None = None,
) -> Callable[[ModelSpec[Any]], Model]:
    """Makes a family's `make_model` from functions of the specification and `Model`'s arguments.

    Args:
      init: Maps (spec, key) to parameters.
      embed: Maps (spec, embeddings, batch) to (hidden_BTD, context).
      block: Maps (spec, row of blocks, row of adapters, hidden_BTD, context) to hidden_BTD.
      readout: Maps (spec, readout, head, hidden_BTD, context) to logits.
      extend: Maps (spec, context, tokens) to a context.
      make_generator: Maps (spec, model without a generator) to the generator of a model that writes
        its answers; None for a family whose models cannot.

    Returns:
      Maps a specification to the model.
    """

    @kept
    def make_model(spec: ModelSpec[Any]) -> Model:
        model = Model(
            num_layers=spec.stack.num_layers,
            num_answers=spec.setup.num_answers,
            # Drawing one array after the other would compile each of them on its own.
            init=jax.jit(functools.partial(init, spec)),
            embed=functools.partial(embed, spec),
            block=functools.partial(block, spec),
            readout=functools.partial(readout, spec),
            extend=functools.partial(extend, spec),
        )
        if make_generator is None or not spec.generates:
            return model
        return dataclasses.replace(model, generator=make_generator(spec, model))

    return make_model


def init_trainable(
    spec: ModelSpec[Any], adapters_key: jax.Array, head_key: jax.Array, *, head_width: int
) -> Params:
    """Draws what a fresh model has beside its submodules.

    Args:
      spec: Specification of the model.
      adapters_key: Typed random key of the adapters.
      head_key: Typed random key of the answer head.
      head_width: Width of the state that the head reads.

    Returns:
      The entries "adapters" and "head" of a model's parameters.
    """
    stack, setup = spec.stack, spec.setup
    rows_L = adapters.init_stack(
        adapters_key, layers=stack.num_layers, width=stack.width, bottleneck=setup.adapter_size
    )
    answers = 0 if spec.generates else setup.num_answers
    head = head_lib.init(head_key, num_answers=answers, width=head_width)
    return {"adapters": rows_L, "head": head}


def apply(model: Model, params: Params, batch: Batch) -> jax.Array:
    """Runs the whole model.

    Args:
      model: The model.
      params: Its parameters.
      batch: B examples.

    Returns:
      Logits of `Model.readout`, float32.
    """
    hidden_BTD, context = encode(model, params, batch)
    return model.readout(params["readout"], params["head"], hidden_BTD, context)


def pool(model: Model, params: Params, batch: Batch) -> jax.Array:
    """Runs the model up to the state that its heads read: the features of its examples.

    Args:
      model: A model that classifies answers.
      params: Its parameters; heads are not needed.
      batch: B examples.

    Returns:
      pooled_BD, float32.
    """
    hidden_BTD, context = encode(model, params, batch)
    return model.readout(params["readout"], {}, hidden_BTD, context)


def encode(model: Model, params: Params, batch: Batch) -> tuple[jax.Array, Any]:
    """Runs the model up to the last block of its selectable stack.

    Args:
      model: The model.
      params: Its parameters.
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
    """Runs one block with its adapter and low-rank changes.

    Args:
      model: The model.
      row: One row of each of `ROW_KEYS` that the model has.
      hidden_BTD: Input of the block.
      context: Context of `Model.embed`.

    Returns:
      hidden_BTD, of the input's dtype.
    """
    with lora.applied(row.get("lora")):
        output_BTD = model.block(row["blocks"], row["adapters"], hidden_BTD, context)
    # Parameters of another precision must not change that of the hidden states.
    return output_BTD.astype(hidden_BTD.dtype)


def in_precision(model: Model, dtype: jnp.dtype) -> Model:
    """Makes the model whose blocks compute in another precision, that of its parameters.

    Args:
      model: The model.
      dtype: Dtype of hidden states and context.

    Returns:
      The model; its logits are float32.
    """

    def embed(params: Params, batch: Batch) -> tuple[jax.Array, Any]:
        return cast(model.embed(params, batch), dtype)

    def readout(params: Params, head: Params, hidden: jax.Array, context: Any) -> jax.Array:
        return model.readout(params, head, hidden, context).astype(jnp.float32)

    return dataclasses.replace(model, embed=embed, readout=readout)


def cast(tree: Any, dtype: jnp.dtype) -> Any:
    """Casts the floats of a pytree; values below the range of the dtype become its least value."""

    def convert(leaf: jax.Array) -> jax.Array:
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        # The least float32, which hides padding, would become an infinity.
        return jnp.maximum(leaf, jnp.finfo(dtype).min).astype(dtype)

    return jax.tree.map(convert, tree)
