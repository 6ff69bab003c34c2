"""Memory plan of a federation: how many clients of a model fit a machine, and their largest batch.

The plan is computed from shapes, without creating the model. Parameters and trained state are
exact; activations are estimated as the residuals of every block that the backward pass may need,
plus a working space of a few of the largest arrays.
"""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import optax

from f3ocus_jax.cost import step_memory
from f3ocus_jax.cost.jaxpr_counts import largest_array
from f3ocus_jax.models import base, units
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch, Params

GIBIBYTE = 2**30
RESERVE = 0.1
"""Fraction of a device's memory that is left to the runtime and to fragmentation."""

WORKING_ARRAYS = 4
"""Number of arrays of the largest size that are alive at once, according to XLA's analysis."""


@dataclasses.dataclass(frozen=True)
class Machine:
    """Machine that a federation runs on.

    Attributes:
      name: Name of the machine.
      devices: Number of devices.
      device_bytes: Memory of each device, in bytes.
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
    """Training settings of a client.

    Attributes:
      unit: Key of `units.UNITS`, the trainable part of a layer.
      adapter_size: Bottleneck of the adapters.
      layers: Number of layers that a client trains.
      batch_size: B, examples per step.
      question_length: T, tokens of a question.
      dtype: Name of the frozen parameters' dtype.
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
      parameters: Number of parameters of the whole model, with adapters and answer head.
      frozen: Frozen parameters, shared by all clients of a device.
      server: Selectable layers and head on the server, float32.
      client: Trained parameters of one client, their gradient and optimizer state, float32.
      activations: Activations of one client's training step.
      batch_size: B, examples of that step.
    """

    parameters: int
    frozen: int
    server: int
    client: int
    activations: int
    batch_size: int

    def clients(self, machine: Machine) -> int:
        """Returns the number of clients that fit together, every device holding all parameters."""
        free = machine.device_bytes * (1 - RESERVE) - self.server - self.frozen
        return max(0, int(free // (self.client + self.activations))) * machine.devices

    def largest_batch(self, machine: Machine, *, sharded: bool = False) -> int:
        """Returns the largest batch of a single client.

        Args:
          machine: Machine to fit.
          sharded: If True, the frozen parameters are sharded over the devices; otherwise every
            device holds all of them.
        """
        parts = machine.devices if sharded else 1
        free = machine.device_bytes * (1 - RESERVE) - self.server - self.frozen / parts
        return max(0, int((free - self.client) * self.batch_size // self.activations))


def plan_memory(spec: ModelSpec[Any], make_model: Any, workload: Workload) -> MemoryPlan:
    """Plans the memory of a model.

    Args:
      spec: Specification of the model, with the workload's adapters.
      make_model: Maps the specification to the model.
      workload: Training settings of a client.

    Returns:
      The plan.
    """
    model: Model = make_model(spec)
    params = jax.eval_shape(model.init, jax.random.key(0))
    frozen, rows_L, head = units.split(params, workload.unit)
    frozen = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, workload.dtype), frozen)
    held = units.join(frozen, rows_L, head, workload.unit)
    batch = batch_shapes(spec, workload)
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


def batch_shapes(spec: ModelSpec[Any], workload: Workload) -> Batch:
    """Returns the shapes of a model's batch."""

    def zeros() -> Batch:
        side, count, length = spec.config.image_size, workload.batch_size, workload.question_length
        return Batch(
            images_BHWC=jnp.zeros((count, side, side, 3), jnp.uint8),
            input_ids_BT=jnp.zeros((count, length), jnp.int32),
            attention_mask_BT=jnp.zeros((count, length), jnp.int32),
            labels_B=jnp.zeros(count, jnp.int32),
            example_mask_B=jnp.zeros(count, jnp.float32),
        )

    return jax.eval_shape(zeros)
