"""Which method is the cheapest for this network, batch and memory? Counted, nothing runs."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from f3ocus_jax.cost.jaxpr_counts import count_flops, peak_bytes
from f3ocus_jax.importance import methods
from f3ocus_jax.importance.methods import Task

EXPECTED_ITERATIONS = 9
"""Kernel products that Lanczos mostly takes for 1e-4, see docs/importance.md."""

AUTO = "auto"


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """How the eigenvalues are found.

    Attributes:
      method: a key of `METHODS`.
      vectors_at_once: cotangents of the whole batch that are pulled side by side.
      flops: operations of matrix products by method, with `EXPECTED_ITERATIONS` iterations.
      bytes: memory by method beside the parameters, if nothing is fused and one cotangent is pulled
        at a time.
    """

    method: str
    vectors_at_once: int
    flops: Mapping[str, float]
    bytes: Mapping[str, float]


def make(task: Task, *, method: str, memory_limit: float) -> KernelPlan:
    """Chooses a method.

    Args:
      task: what is looked for; `vectors_at_once` and `explicit_bytes` are of no effect.
      method: a key of `METHODS` to take in any case, or "auto".
      memory_limit: bytes that "auto" keeps to as long as any method does; whatever the method, it
        decides how many vectors are pulled at once.

    Returns:
      The plan: the fewest operations among the methods that fit, or "lanczos" where none does.
    """
    task = dataclasses.replace(task, vectors_at_once=task.mask_NC.shape[1])
    one_pull = _bytes_of_pull(task)
    held = _bytes_of_network(task) + one_pull
    pulled = 2.0 * task.mask_NC.shape[1] * _size(_hidden(task))
    task = dataclasses.replace(task, explicit_bytes=max(0.0, memory_limit - held - pulled))
    bytes_of, flops_of = {}, {}
    for name, (count, peak) in _within_layers(task).items():
        flops_of[name] = _down(task) + task.linearised.network.num_layers * count
        bytes_of[name] = held + pulled + peak
    flops_of["lanczos"], bytes_of["lanczos"] = _lanczos(task), held
    if method == AUTO:
        fitting = [name for name in methods.METHODS if bytes_of[name] <= memory_limit]
        method = min(fitting, key=lambda name: flops_of[name], default="lanczos")
    spare = max(0.0, memory_limit - bytes_of[method])
    at_once = min(1 + int(spare // max(one_pull, 1.0)), task.mask_NC.shape[1])
    return KernelPlan(method, at_once, flops_of, bytes_of)


def follow(task: Task, plan: KernelPlan, memory_limit: float) -> Task:
    """Returns a task with the plan's vectors at once, and the memory that this leaves."""
    left = max(0.0, memory_limit - plan.bytes["sweep"])
    return dataclasses.replace(task, vectors_at_once=plan.vectors_at_once, explicit_bytes=left)


def _lanczos(task: Task) -> float:
    """Counts the operations of a vector's way down to every layer and up again."""
    linearised, hidden = task.linearised, _hidden(task)
    layer, layers = jnp.int32(0), linearised.network.num_layers
    to_row, from_row = linearised.row_maps(layer)
    ends = count_flops(
        lambda vector: linearised.push_readout(linearised.pull_readout(vector)), linearised.outputs
    )
    through = count_flops(
        lambda hidden: linearised.push(layer, linearised.pull(layer, hidden)), hidden
    )
    row = count_flops(lambda hidden: from_row(to_row(hidden)), hidden)
    one_each = layers * (layers - 1) / 2 * through + layers * (ends + row)
    return _iterations(task, task.mask_NC.size) * one_each


def _down(task: Task) -> float:
    """Counts the operations of pulling all outputs down to the lowest layer."""
    linearised = task.linearised
    readout = count_flops(linearised.pull_readout, linearised.outputs)
    pull = count_flops(lambda hidden: linearised.pull(jnp.int32(0), hidden), _hidden(task))
    return task.mask_NC.shape[1] * (readout + (linearised.network.num_layers - 1) * pull)


def _within_layers(task: Task) -> dict[str, tuple[float, float]]:
    """Counts what the other methods do in one layer: operations and bytes by method."""
    hidden, layer = _hidden(task), jnp.int32(0)
    pulled = jax.ShapeDtypeStruct((task.mask_NC.shape[1], *hidden.shape), jnp.float32)
    size, row_size = task.mask_NC.size, task.linearised.network.row_size

    def sweep(vector_NC: jax.Array, pulled: jax.Array) -> jax.Array:
        return methods.product_within(task, layer, pulled)(vector_NC)

    def gram(pulled: jax.Array) -> jax.Array:
        return methods.gram_of_layer(task, layer, pulled)

    def parameters(pulled: jax.Array) -> jax.Array:
        jacobian = methods.jacobian_of_layer(task, layer, pulled)
        return jacobian.T @ jacobian

    def matrix(size: int) -> float:
        decomposed = size <= methods.SMALL_MATRIX
        return 10.0 * size**3 if decomposed else _iterations(task, size) * 2.0 * size**2

    return {
        "sweep": (
            _iterations(task, size) * count_flops(sweep, task.mask_NC, pulled),
            peak_bytes(sweep, task.mask_NC, pulled),
        ),
        "gram": (
            count_flops(gram, pulled) + matrix(size),
            peak_bytes(gram, pulled),
        ),
        "parameters": (
            count_flops(parameters, pulled) + matrix(row_size),
            peak_bytes(parameters, pulled),
        ),
    }


def _iterations(task: Task, size: int) -> int:
    return len(task.starts_MNC) * min(EXPECTED_ITERATIONS, task.max_iterations, size)


def _bytes_of_network(task: Task) -> float:
    """Returns what is kept of the network, and of Lanczos vectors."""
    kept = jax.tree.leaves((task.linearised.inputs_L, task.linearised.residuals_L))
    vectors = min(task.max_iterations, task.mask_NC.size) + 3 * len(task.starts_MNC)
    return sum(_size(leaf) for leaf in kept) + 2.0 * vectors * _size(task.mask_NC)


def _bytes_of_pull(task: Task) -> float:
    linearised = task.linearised
    return peak_bytes(lambda hidden: linearised.pull(jnp.int32(0), hidden), _hidden(task))


def _hidden(task: Task) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(task.linearised.inputs_L.shape[1:], jnp.float32)


def _size(leaf: jax.Array | jax.ShapeDtypeStruct) -> float:
    return float(leaf.size * leaf.dtype.itemsize)
