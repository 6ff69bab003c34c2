"""Memory of one client's training step, counted from shapes; nothing is computed."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from f3ocus_jax.clients import Choice, gradient
from f3ocus_jax.models import units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params


@dataclasses.dataclass(frozen=True)
class StepBytes:
    """Bytes of the parts of a training step.

    Attributes:
      parameters: Parameters of the whole model, which all clients of a device share.
      row: One chosen layer of a client: its copy, gradient and optimizer state.
      head: Answer head of a client: its copy, gradient and optimizer state.
      activations: Residuals of the forward pass for the backward pass. The program has room for
        all layers, regardless of the choice.
      working: Working space of one block.
    """

    parameters: int
    row: int
    head: int
    activations: int
    working: int

    def peak(self, layers: int) -> int:
        """Returns the bytes of a step with the given number of chosen layers."""
        held = layers * self.row + self.head
        return self.parameters + held + self.activations + self.working


def step_bytes(
    model: Model,
    params: Params,
    batch: Batch,
    *,
    unit: str,
    optimizer: optax.GradientTransformation,
    rematerialise: bool = False,
) -> StepBytes:
    """Counts the parts of a training step.

    Args:
      model: Model to count.
      params: Parameters of the model, or their shapes.
      batch: Examples of one step, or their shapes.
      unit: Key of `units.UNITS`, the trainable part of a layer.
      optimizer: Optimizer of local training.
      rematerialise: If True, only the inputs of blocks are kept for the backward pass.

    Returns:
      The parts, in bytes; tests compare them with XLA's memory analysis.
    """

    def kept(params: Params, batch: Batch, rematerialise: bool) -> Any:
        frozen, rows_L, head = units.split(params, unit)
        choice = Choice(jnp.zeros(1, jnp.int32))
        forward = gradient.make_forward(
            model, unit=unit, skip_frozen=True, rematerialise=rematerialise
        )
        return forward.make_buffer(frozen, rows_L, choice, (choice.take(rows_L), head), batch)

    def held(part: Params) -> int:
        state = jax.eval_shape(optimizer.init, part)
        return 2 * tree_bytes(part) + tree_bytes(state)

    _, rows_L, head = units.split(params, unit)
    row = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), rows_L)
    all_kept, input_kept = (
        tree_bytes(jax.eval_shape(functools.partial(kept, rematerialise=r), params, batch))
        for r in (False, True)
    )
    return StepBytes(
        parameters=tree_bytes(params),
        row=held(row),
        head=held(head),
        activations=input_kept if rematerialise else all_kept,
        working=2 * all_kept // model.num_layers,
    )


def tree_bytes(tree: Any) -> int:
    """Returns the bytes of a pytree of arrays or shapes."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
