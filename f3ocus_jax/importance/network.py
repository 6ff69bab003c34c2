"""A network as its layerwise kernels need it: blocks of one shape, an input and a readout."""

import dataclasses
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from f3ocus_jax.models import losses, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Batch, Params, Rows

Readout: TypeAlias = Callable[[jax.Array, Batch], jax.Array]
"""(logits, batch) -> outputs of which the kernel is computed, with a leading example axis."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network of L blocks of one shape, applied to a batch of N examples that do not interact.

    Attributes:
      block: Maps (row, frozen row, hidden, context) to hidden, of the same shape.
      readout: Maps hidden to outputs, [N, ...].
      rows_L: Parameters of all blocks whose kernels are computed, leading axis L.
      frozen_L: All other parameters of the blocks, leading axis L; may be `{}`.
      hidden: Input of the first block, [N, ...].
      context: Pytree of further inputs of all blocks, such as an attention mask.
      context_axes: Axis of the examples in `context`, as `in_axes` of `jax.vmap`: 0, None if all
        examples share it, or a pytree of these.
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
        """P, number of parameters of one layer."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.rows_L)) // self.num_layers

    def rows_at(self, layer: Any) -> tuple[Rows, Rows]:
        """Returns one layer's (row, frozen row) in float32; `layer` may be traced.

        Kernel products are computed in float32, whatever dtype the parameters have.
        """
        return to_float32(units.row_at((self.rows_L, self.frozen_L), layer))


def make_network(
    model: Model,
    unit: str,
    frozen: Params,
    rows_L: Rows,
    head: Params,
    batch: Batch,
    *,
    read: Readout,
) -> Network:
    """Makes the network of a model and the probe examples of one client.

    Args:
      model: Model.
      unit: Key of `units.UNITS`, which says what the parameters of a layer are.
      frozen: Parameters that no client trains.
      rows_L: Selectable layers, leading axis L.
      head: Answer head.
      batch: N probe examples.
      read: `read_logits`, or a loss from `make_loss_readout`.

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
        context_axes=example_axes(model, frozen["embeddings"], batch),
    )


def read_logits(logits: jax.Array, batch: Batch) -> jax.Array:
    """Returns the logits: the kernel is computed of all outputs of the model."""
    del batch
    return logits


def make_loss_readout(name: str) -> Readout:
    """Makes the readout for the kernel of the examples' losses.

    Args:
      name: Key of `losses.LOSSES`.

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


def example_axes(model: Model, embeddings: Params, batch: Batch) -> Any:
    """Returns 0 for arrays of a model's context with examples on their first axis, else None.

    Arrays with examples are those that grow with the batch.
    """

    def shapes(more: int) -> Any:
        def grow(leaf: Any) -> jax.ShapeDtypeStruct:
            leaf = jnp.asarray(leaf)
            return jax.ShapeDtypeStruct((leaf.shape[0] + more, *leaf.shape[1:]), leaf.dtype)

        return jax.eval_shape(model.embed, embeddings, jax.tree.map(grow, batch))[1]

    def axis(first: Any, second: Any) -> int | None:
        return 0 if first.shape != second.shape else None

    return jax.tree.map(axis, shapes(0), shapes(1))
