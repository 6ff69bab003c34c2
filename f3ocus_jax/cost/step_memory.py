"""How much memory does one client's training step take? Counted from shapes, nothing runs."""

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
      parameters: of the whole model, which all clients of a device share.
      row: one chosen layer as the client holds it: its copy, gradient and optimizer state.
      head: the same of the answer head.
      activations: what the forward pass keeps for the backward pass. The program has room for all
        layers, whichever are chosen.
      working: what one block needs while it runs.
    """

    parameters: int
    row: int
    head: int
    activations: int
    working: int

    def peak(self, layers: int) -> int:
        """Adds up a step that has room for so many chosen layers."""
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
      model: the model.
      params: its parameters, or their shapes.
      batch: the examples that are run at once, or their shapes.
      unit: a key of `trainable.UNITS`.
      optimizer: of local training.
      rematerialise: whether only the blocks' inputs are kept.

    Returns:
      The parts; compared with XLA's own analysis in the tests.
    """

    def kept(params: Params, batch: Batch, rematerialise: bool) -> Any:
        frozen, rows_L, head = units.split(params, unit)
        choice = Choice(jnp.zeros(1, jnp.int32))
        forward = gradient.make_forward(
            model, unit=unit, skip_frozen=True, rematerialise=rematerialise
        )
        return forward.room(frozen, rows_L, choice, (choice.take(rows_L), head), batch)

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
    """Adds up the bytes of a pytree of arrays; shapes suffice."""
    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
