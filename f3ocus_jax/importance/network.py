"""What does the kernel need to know of a network? Blocks of one shape, an input and a readout."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from f3ocus_jax.models import losses, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows

Readout: TypeAlias = Callable[[jax.Array, Batch], jax.Array]
"""(outputs, batch) -> what the kernel is taken on, with a leading example axis."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of L blocks of one shape around one batch of N examples, which do not mix.

    Attributes:
      block: (row, frozen row, hidden, context) -> hidden of the same shape.
      readout: hidden -> outputs, [N, ...].
      rows_L: parameters of every block that the kernels are taken in, leading axis L.
      frozen_L: parameters of every block that they are not taken in, leading axis L; may be `{}`.
      hidden: input of the first block, [N, ...].
      context: pytree of what all blocks need beside their input, such as an attention mask.
      context_axes: where the examples are in `context`, as `jax.vmap` takes it: 0, None for what
        all examples share, or a pytree of these.
    """

    block: Callable[[Rows, Rows, jax.Array, Any], jax.Array]
    readout: Callable[[jax.Array], jax.Array]
    rows_L: Rows
    frozen_L: Rows
    hidden: jax.Array
    context: Any = None
    context_axes: Any = 0

    @property
    def num_layers(self) -> int:
        """L."""
        return jax.tree.leaves(self.rows_L)[0].shape[0]

    @property
    def row_size(self) -> int:
        """Parameters of one layer that the kernel is taken in."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.rows_L)) // self.num_layers

    def rows_at(self, layer: Any) -> tuple[Rows, Rows]:
        """Returns one layer's (row, frozen row) in float32; `layer` may be traced.

        Kernel products are taken in float32 whatever the parameters are stored in.
        """
        return to_float32(units.row_at((self.rows_L, self.frozen_L), layer))


def of_model(
    model: Model,
    unit: str,
    frozen: Params,
    rows_L: Rows,
    head: Params,
    batch: Batch,
    *,
    read: Readout,
) -> Network:
    """Describes a model around the probe examples of one client.

    Args:
      model: the model.
      unit: a key of `trainable.UNITS`, what a layer's parameters are.
      frozen: its parameters that no client trains.
      rows_L: the selectable layers.
      head: the answer head.
      batch: N examples.
      read: `outputs` or a loss from `loss_of`.

    Returns:
      The network.
    """
    hidden, context = model.embed(frozen["embeddings"], batch)

    def block(row: Rows, frozen_row: Rows, hidden: jax.Array, context: Any) -> jax.Array:
        return units.run(model, frozen_row, row, unit, hidden, context)

    def readout(hidden: jax.Array) -> jax.Array:
        return read(model.readout(frozen["readout"], head, hidden, context), batch)

    return Network(
        block=block,
        readout=readout,
        rows_L=rows_L,
        frozen_L=units.frozen_rows(frozen),
        hidden=hidden.astype(jnp.float32),
        context=context,
        context_axes=_example_axes(model, frozen["embeddings"], batch),
    )


def outputs(logits: jax.Array, batch: Batch) -> jax.Array:
    """Takes the kernel on everything the model says."""
    del batch
    return logits


def loss_of(name: str) -> Readout:
    """Takes the kernel on the loss of every example.

    Args:
      name: a key of `losses.LOSSES`.

    Returns:
      (logits_BC, batch) -> loss_B.
    """
    return losses.make_loss(name)


def to_float32(tree: Any) -> Any:
    """Returns a pytree with its floating-point leaves in float32."""

    def cast(leaf: Any) -> Any:
        leaf = jnp.asarray(leaf)
        wide = jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != jnp.float32
        return leaf.astype(jnp.float32) if wide else leaf

    return jax.tree.map(cast, tree)


def _example_axes(model: Model, embeddings: Params, batch: Batch) -> Any:
    """Finds out which arrays of a model's context have examples on their first axis.

    Those are the ones that grow with the batch.
    """

    def shapes(more: int) -> Any:
        def grow(leaf: Any) -> jax.ShapeDtypeStruct:
            leaf = jnp.asarray(leaf)
            return jax.ShapeDtypeStruct((leaf.shape[0] + more, *leaf.shape[1:]), leaf.dtype)

        return jax.eval_shape(model.embed, embeddings, jax.tree.map(grow, batch))[1]

    def axis(first: Any, second: Any) -> int | None:
        return 0 if first.shape != second.shape else None

    return jax.tree.map(axis, shapes(0), shapes(1))
