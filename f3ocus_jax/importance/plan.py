"""The method that costs the least for a network, batch and memory, by counts; nothing runs."""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from f3ocus_jax.cost.jaxpr_counts import count_flops, peak_bytes
from f3ocus_jax.importance import layer_kernel
from f3ocus_jax.importance.eigenproblem import SMALL_MATRIX, Eigenproblem
from f3ocus_jax.importance.methods import METHODS

EXPECTED_ITERATIONS = 9
"""Typical number of kernel products of Lanczos for a tolerance of 1e-4; see docs/importance.md."""

AUTO = "auto"
"""Name of the choice of the method with the fewest operations."""


@dataclasses.dataclass(frozen=True)
class KernelPlan:
    """The chosen method, and the counted cost of all methods.

    Attributes:
      method: Key of `METHODS`.
      vectors_at_once: Number of cotangents of the whole batch that are pulled back side by side.
      flops: Operations of matrix products by method, for `EXPECTED_ITERATIONS` iterations.
      bytes: Memory by method beside the parameters, in bytes, if nothing is fused and one cotangent
        is pulled back at a time.
    """

    method: str
    vectors_at_once: int
    flops: Mapping[str, float]
    bytes: Mapping[str, float]


def choose_method(problem: Eigenproblem, *, method: str, memory_limit: float) -> KernelPlan:
    """Chooses a method.

    Args:
      problem: Eigenproblem; `vectors_at_once` and `explicit_bytes` have no effect.
      method: Key of `METHODS` to take in any case, or "auto".
      memory_limit: Bytes beside the parameters. "auto" stays below them if any method does, and
        they decide for every method how many cotangents are pulled back at once.

    Returns:
      The plan: under "auto" the fewest operations among the methods that fit, or "lanczos" if none
      fits.
    """
    problem = dataclasses.replace(problem, vectors_at_once=problem.mask_NC.shape[1])
    one_pull = _bytes_of_pull(problem)
    held = _bytes_of_network(problem) + one_pull
    pulled = 2.0 * problem.mask_NC.shape[1] * _size(_hidden(problem))
    problem = dataclasses.replace(problem, explicit_bytes=max(0.0, memory_limit - held - pulled))
    bytes_of, flops_of = {}, {}
    for name, (count, peak) in _within_layers(problem).items():
        flops_of[name] = _pull_all(problem) + problem.linearised.network.num_layers * count
        bytes_of[name] = held + pulled + peak
    flops_of["lanczos"], bytes_of["lanczos"] = _lanczos(problem), held
    if method == AUTO:
        fitting = [name for name in METHODS if bytes_of[name] <= memory_limit]
        method = min(fitting, key=lambda name: flops_of[name], default="lanczos")
    spare = max(0.0, memory_limit - bytes_of[method])
    at_once = min(1 + int(spare // max(one_pull, 1.0)), problem.mask_NC.shape[1])
    return KernelPlan(method, at_once, flops_of, bytes_of)


def apply_plan(problem: Eigenproblem, plan: KernelPlan, memory_limit: float) -> Eigenproblem:
    """Returns the eigenproblem with the plan's vectors at once, and the memory that they leave."""
    left = max(0.0, memory_limit - plan.bytes["sweep"])
    return dataclasses.replace(problem, vectors_at_once=plan.vectors_at_once, explicit_bytes=left)


def _lanczos(problem: Eigenproblem) -> float:
    """Counts the operations of pulling vectors back to every layer and pushing them forward."""
    linearised, hidden = problem.linearised, _hidden(problem)
    layer, layers = jnp.int32(0), linearised.network.num_layers
    pull_row, push_row = linearised.row_maps(layer)
    ends = count_flops(
        lambda vector: linearised.push_through_readout(linearised.pull_through_readout(vector)),
        linearised.outputs,
    )
    through = count_flops(
        lambda hidden: linearised.push_through_block(
            layer, linearised.pull_through_block(layer, hidden)
        ),
        hidden,
    )
    row = count_flops(lambda hidden: push_row(pull_row(hidden)), hidden)
    one_each = layers * (layers - 1) / 2 * through + layers * (ends + row)
    return _iterations(problem, problem.mask_NC.size) * one_each


def _pull_all(problem: Eigenproblem) -> float:
    """Counts the operations of pulling all outputs back to the lowest layer."""
    linearised = problem.linearised
    readout = count_flops(linearised.pull_through_readout, linearised.outputs)
    pull = count_flops(
        lambda hidden: linearised.pull_through_block(jnp.int32(0), hidden), _hidden(problem)
    )
    return problem.mask_NC.shape[1] * (readout + (linearised.network.num_layers - 1) * pull)


def _within_layers(problem: Eigenproblem) -> dict[str, tuple[float, float]]:
    """Counts what the other methods do in one layer: (operations, bytes) by method."""
    hidden, layer = _hidden(problem), jnp.int32(0)
    pulled = jax.ShapeDtypeStruct((problem.mask_NC.shape[1], *hidden.shape), jnp.float32)
    size, row_size = problem.mask_NC.size, problem.linearised.network.row_size

    def sweep(vector_NC: jax.Array, pulled: jax.Array) -> jax.Array:
        return layer_kernel.kernel_product(problem, layer, pulled)(vector_NC)

    def gram(pulled: jax.Array) -> jax.Array:
        return layer_kernel.layer_gram(problem, layer, pulled)

    def parameters(pulled: jax.Array) -> jax.Array:
        jacobian = layer_kernel.layer_jacobian(problem, layer, pulled)
        return jacobian.T @ jacobian

    def matrix(size: int) -> float:
        decomposed = size <= SMALL_MATRIX
        return 10.0 * size**3 if decomposed else _iterations(problem, size) * 2.0 * size**2

    return {
        "sweep": (
            _iterations(problem, size) * count_flops(sweep, problem.mask_NC, pulled),
            peak_bytes(sweep, problem.mask_NC, pulled),
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


def _iterations(problem: Eigenproblem, size: int) -> int:
    return len(problem.starts_MNC) * min(EXPECTED_ITERATIONS, problem.max_iterations, size)


def _bytes_of_network(problem: Eigenproblem) -> float:
    """Returns the bytes of what is kept of the network, and of the Lanczos vectors."""
    kept = jax.tree.leaves((problem.linearised.inputs_L, problem.linearised.residuals_L))
    vectors = min(problem.max_iterations, problem.mask_NC.size) + 3 * len(problem.starts_MNC)
    return sum(_size(leaf) for leaf in kept) + 2.0 * vectors * _size(problem.mask_NC)


def _bytes_of_pull(problem: Eigenproblem) -> float:
    linearised = problem.linearised
    return peak_bytes(
        lambda hidden: linearised.pull_through_block(jnp.int32(0), hidden), _hidden(problem)
    )


def _hidden(problem: Eigenproblem) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(problem.linearised.inputs_L.shape[1:], jnp.float32)


def _size(leaf: jax.Array | jax.ShapeDtypeStruct) -> float:
    return float(leaf.size * leaf.dtype.itemsize)
