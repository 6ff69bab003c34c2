"""How many clients of a model fit a machine, and how large may their batches be?

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
import optax
from jax.extend import core

from f3ocus_jax.cost import step_memory
from f3ocus_jax.models import base, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.sizes import Sizes
from f3ocus_jax.types import Batch, Params

GIBIBYTE = 2**30
RESERVE = 0.1
"""Share of a device's memory that is left to the runtime and to gaps between arrays."""

WORKING_ARRAYS = 4
"""How many arrays as large as the largest one are alive at once, as XLA's own counts show."""


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
      unit: a key of `trainable.UNITS`.
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
class MemoryPlan:
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


def plan(sizes: Sizes, make_model: Any, workload: Workload) -> MemoryPlan:
    """Works out the memory of a model.

    Args:
      sizes: of the model, with the workload's adapters.
      make_model: sizes -> the model.
      workload: what a client trains.

    Returns:
      The plan.
    """
    model: Model = make_model(sizes)
    params = jax.eval_shape(model.init, jax.random.key(0))
    frozen, rows_L, head = units.split(params, workload.unit)
    frozen = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, workload.dtype), frozen)
    held = units.join(frozen, rows_L, head, workload.unit)
    batch = shapes_of_batch(sizes, workload)
    step = step_memory.step_bytes(
        model, held, batch, unit=workload.unit, optimizer=optax.adamw(1.0)
    )
    below, above = _working_bytes(model, held, batch)
    return MemoryPlan(
        parameters=sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params)),
        frozen=step_memory.tree_bytes(frozen),
        server=step_memory.tree_bytes((rows_L, head)),
        client=step.row * min(workload.layers, model.num_layers) + step.head,
        activations=max(below, step.activations + above),
        batch_size=workload.batch_size,
    )


def _working_bytes(model: Model, params: Params, batch: Batch) -> tuple[int, int]:
    """Counts the working space of a step below the selectable stack, and from it on."""
    below = largest_array(model.embed, params["embeddings"], batch)
    hidden, context = jax.eval_shape(model.embed, params["embeddings"], batch)
    above = largest_array(functools.partial(_from_stack, model), params, hidden, context)
    return WORKING_ARRAYS * below, WORKING_ARRAYS * above


def _from_stack(model: Model, params: Params, hidden: jax.Array, context: Any) -> jax.Array:
    row = units.row_at(units.frozen_rows(params), jnp.int32(0))
    hidden = base.run_block(model, row, hidden, context)
    return model.readout(params["readout"], params["head"], hidden, context)


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
