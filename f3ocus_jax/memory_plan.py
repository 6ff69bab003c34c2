"""How much memory does a client of a model take, and how many clients fit a machine?

All of it is worked out from shapes, without making the model: parameters and what is trained to the
byte, activations as the residuals of every block that the backward pass may need, and a working
space of a few of the largest arrays.
"""

import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from f3ocus_jax.models import linear, trainable
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.sizes import Sizes
from f3ocus_jax.types import Batch, Params, Rows

GIBIBYTE = 2**30
RESERVE = 0.1
"""Share of a device's memory that is left to the runtime and to gaps between arrays."""

WORKING_ARRAYS = 4
"""How many arrays as large as the largest one are alive at once, as XLA's own counts show."""

COPIES = 4
"""Of what a client trains: its own values, their gradient, and the two moments of AdamW."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """What a federation runs on.

    Attributes:
      name: of it.
      devices: how many.
      device_bytes: memory of each.
    """

    name: str
    devices: int
    device_bytes: int


MACHINES = (
    Machine("2 cores", 1, 24 * GIBIBYTE),
    Machine("H200", 1, 139 * GIBIBYTE),
    Machine("TPU v4-8", 4, 32 * GIBIBYTE),
)
"""A v4-8 is four chips of 32 GiB."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """What a client trains on.

    Attributes:
      unit: "adapter" or "block".
      adapter_size: bottleneck of the adapters.
      layers: how many layers a client trains.
      batch_size: B.
      question_length: T of the question.
      dtype: of the frozen parameters.
    """

    unit: str = "adapter"
    adapter_size: int = 48
    layers: int = 4
    batch_size: int = 32
    question_length: int = 40
    dtype: str = "float32"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Memory of one model under one workload, in bytes.

    Attributes:
      parameters: how many the whole model has, with adapters and answer head.
      frozen: what no client trains, shared by all clients of a device.
      server: the selectable layers and the head as the server has them, float32.
      client: what one client trains, its gradient and its optimizer state, float32.
      activations: of one client's training step.
      batch_size: B of that step.
    """

    parameters: int
    frozen: int
    server: int
    client: int
    activations: int
    batch_size: int

    def clients(self, machine: Machine) -> int:
        """Returns how many clients fit side by side, every device holding all parameters."""
        free = machine.device_bytes * (1 - RESERVE) - self.server - self.frozen
        return max(0, int(free // (self.client + self.activations))) * machine.devices

    def largest_batch(self, machine: Machine, *, sharded: bool = False) -> int:
        """Returns the examples per step of a single client, the frozen parameters on every device,
        or an equal part of them on each; activations grow with the examples.
        """
        parts = machine.devices if sharded else 1
        free = machine.device_bytes * (1 - RESERVE) - self.server - self.frozen / parts
        return max(0, int((free - self.client) * self.batch_size // self.activations))


def plan(sizes: Sizes, create: Any, workload: Workload) -> Plan:
    """Works out the memory of a model.

    Args:
      sizes: of the model, with the workload's adapters.
      create: sizes -> the model.
      workload: what a client trains.

    Returns:
      The plan.
    """
    model: Model = create(sizes)
    params = jax.eval_shape(model.init, jax.random.key(0))
    frozen, rows_L, head = trainable.split(params, workload.unit)
    frozen = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, workload.dtype), frozen)
    batch = shapes_of_batch(sizes, workload)
    depth = model.num_layers
    row_bytes = _bytes(rows_L) // depth
    trained = row_bytes * min(workload.layers, depth) + _bytes(head)
    return Plan(
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        frozen=_bytes(frozen),
        server=_bytes(rows_L) + _bytes(head),
        client=COPIES * trained,
        activations=_activations(model, (frozen, rows_L, head), workload.unit, batch),
        batch_size=workload.batch_size,
    )


def _activations(model: Model, parts: tuple[Params, Rows, Params], unit: str, batch: Batch) -> int:
    """Counts what the costlier half of a step needs: below the selectable stack, or from it on."""
    frozen, rows_L, _ = parts
    below = largest_array(model.embed, frozen["embeddings"], batch)
    hidden, context = jax.eval_shape(model.embed, frozen["embeddings"], batch)
    above = largest_array(
        functools.partial(_from_stack, model), trainable.join(*parts, unit), hidden, context
    )
    residuals = model.num_layers * residual_bytes(model, frozen, rows_L, unit, batch)
    return max(WORKING_ARRAYS * below, residuals + WORKING_ARRAYS * above)


def _from_stack(model: Model, params: Params, hidden: jax.Array, context: Any) -> jax.Array:
    block, adapter = trainable.row_at((params["blocks"], params["adapters"]), jnp.int32(0))
    hidden = model.block(block, adapter, hidden, context)
    return model.readout(params["readout"], params["head"], hidden, context)


def residual_bytes(model: Model, frozen: Params, rows_L: Rows, unit: str, batch: Batch) -> int:
    """Counts what one block keeps for its backward pass.

    Args:
      model: the model.
      frozen: shapes of the parameters that no client trains.
      rows_L: shapes of the selectable layers.
      unit: "adapter" or "block".
      batch: shapes of a batch.

    Returns:
      Bytes, the block's own parameters left out.
    """

    def keep(frozen: Params, rows_L: Rows, batch: Batch) -> linear.Residuals:
        hidden, context = model.embed(frozen["embeddings"], batch)
        stacks = (trainable.frozen_rows(frozen, unit), rows_L)
        frozen_row, row = trainable.row_at(stacks, jnp.int32(0))

        def block(row: Rows, hidden: jax.Array) -> jax.Array:
            parts = trainable.block_and_adapter(frozen_row, row, unit)
            return model.block(*parts, hidden, context)

        _, derivative = jax.vjp(block, row, hidden)
        return linear.detach(derivative, (frozen_row, row, context))[0]

    return _bytes(jax.eval_shape(keep, frozen, rows_L, batch))


def largest_array(function: Any, *inputs: Any) -> int:
    """Returns the bytes of the largest array that a function makes on the way."""
    return max(_sizes(jax.make_jaxpr(function)(*inputs).jaxpr))


def _sizes(jaxpr: Any) -> Iterator[int]:
    for equation in jaxpr.eqns:
        inner = list(core.jaxprs_in_params(equation.params))
        for part in inner:
            yield from _sizes(part)
        if not inner:
            for variable in equation.outvars:
                yield math.prod(variable.aval.shape) * variable.aval.dtype.itemsize


def _bytes(tree: Any) -> int:
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in leaves)


def shapes_of_batch(sizes: Sizes, workload: Workload) -> Batch:
    """Returns the shapes of a batch for a model."""

    def shape(*axes: int, dtype: str = "int32") -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((workload.batch_size, *axes), dtype)

    side = sizes.image_size
    return Batch(
        images_BHWC=shape(side, side, 3, dtype="uint8"),
        input_ids_BT=shape(workload.question_length),
        attention_mask_BT=shape(workload.question_length),
        labels_B=shape(),
        example_mask_B=shape(dtype="float32"),
    )
