"""What are the top eigenvalues of every layer's neural tangent kernel?

For layer l with Jacobian J_l = ∂f/∂θ_l over N examples and C outputs each, the layerwise kernel is
Θ_l = J_l J_lᵀ, [N·C, N·C] (F³OCUS, section 3.2), or [N, N] where f is the loss of each example.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.importance import methods, plan as plan_lib
from f3ocus_jax.importance.lanczos import Eigenpair
from f3ocus_jax.importance.linearised_network import Linearised
from f3ocus_jax.importance.methods import METHODS, Task
from f3ocus_jax.importance.network import Network
from f3ocus_jax.importance.plan import AUTO, KernelPlan

MEMORY_LIMIT = 2.0**30
"""Bytes, unless asked for another number."""


@struct.dataclass
class Spectrum:
    """The top eigenvalues of every layer's kernel, and how well they are known.

    Attributes:
      values_LM: float32, descending.
      residuals_LM: float32, |Θ v − λ v| / λ_1; an eigenvalue lies within this distance, relative to
        the layer's largest.
      iterations_LM: int32, kernel products taken; 0 where the kernel was decomposed.
      vectors_LMNC: float32, eigenvectors of unit length, outputs flattened per example; 0 for an
        eigenvalue of 0.
      converged_LM: bool, whether the residual is within the tolerance.
    """

    values_LM: jax.Array
    residuals_LM: jax.Array
    iterations_LM: jax.Array
    vectors_LMNC: jax.Array
    converged_LM: jax.Array


def layerwise_ntk(
    network: Network,
    *,
    mask: jax.Array | None = None,
    count: int = 1,
    method: str = AUTO,
    memory_limit: float = MEMORY_LIMIT,
    tolerance: float = 1e-4,
    max_iterations: int = 64,
    key: jax.Array | None = None,
    warm_LNC: jax.Array | None = None,
) -> Spectrum:
    """Finds the top eigenvalues of every layer's kernel; can be called under `jax.jit`.

    Args:
      network: what the kernels are of, around its batch.
      mask: 0 for outputs that do not count, such as those of padding examples, padding tokens or
        closed answer classes; has the outputs' first axes, each of their size or 1. All count if
        None.
        An output that does not count must still be finite.
      count: M, eigenvalues per layer; repeated ones are found as often as they occur.
      method: a key of `methods.METHODS`, or "auto" for the one with the fewest operations.
      memory_limit: bytes beside the parameters that "auto" keeps to as long as any method does.
      tolerance: relative residual at which an eigenvalue is accepted.
      max_iterations: kernel products after which it is returned as not converged.
      key: draws the start vectors; `jax.random.key(0)` if None.
      warm_LNC: earlier eigenvectors of the same examples to start from; 0 where there is none.

    Returns:
      The eigenvalues of all layers.

    Raises:
      ValueError: for an unknown method, or a count that is not between 1 and N·C.
    """
    # Kernel products with fewer digits than float32 has would end Lanczos at a wrong residual.
    with jax.default_matmul_precision("highest"):
        task = make_task(Linearised(network), mask, count, tolerance, max_iterations, key, warm_LNC)
        if method not in (AUTO, *METHODS):
            choices = ", ".join(sorted((AUTO, *METHODS)))
            raise ValueError(f"method {method!r} is unknown; choose {choices}")
        plan = plan_lib.make(task, method=method, memory_limit=memory_limit)
        return spectrum_of(METHODS[plan.method](plan_lib.follow(task, plan, memory_limit)), task)


def layerwise_trace(
    network: Network, *, mask: jax.Array | None = None, memory_limit: float = MEMORY_LIMIT
) -> jax.Array:
    """Finds the trace of every layer's kernel, the sum of all its eigenvalues.

    Args:
      network: what the kernels are of, around its batch.
      mask: as for `layerwise_ntk`.
      memory_limit: bytes beside the parameters, which decide how many outputs are pulled at once.

    Returns:
      trace_L, float32.
    """
    with jax.default_matmul_precision("highest"):
        task = make_task(Linearised(network), mask, 1, 1e-4, 1, None, None)
        plan = plan_lib.make(task, method="sweep", memory_limit=memory_limit)
        task = plan_lib.follow(task, plan, memory_limit)

        def visit(
            above: methods.Above, layer: jax.Array, pulled: jax.Array
        ) -> tuple[methods.Above, jax.Array]:
            return above, methods.trace_of_layer(task, layer, pulled)

        return methods.over_layers(task, visit)


def spectrum_of(pairs: Eigenpair, task: Task) -> Spectrum:
    """Returns eigenpairs with leading axes L, M as a spectrum."""
    return Spectrum(
        values_LM=pairs.value,
        residuals_LM=pairs.residual,
        iterations_LM=pairs.iterations,
        vectors_LMNC=pairs.vector,
        converged_LM=pairs.residual <= task.tolerance,
    )


def make_plan(
    network: Network, *, memory_limit: float = MEMORY_LIMIT, count: int = 1
) -> KernelPlan:
    """Tells which method "auto" takes, and what all methods would cost.

    Args:
      network: what the kernels are of; as for `layerwise_ntk`.
      memory_limit: as there.
      count: as there.

    Returns:
      The plan.
    """
    task = make_task(Linearised(network), None, count, 1e-4, 64, None, None)
    return plan_lib.make(task, method=AUTO, memory_limit=memory_limit)


def make_task(
    linearised: Any,
    mask: jax.Array | None,
    count: int,
    tolerance: float,
    max_iterations: int,
    key: jax.Array | None,
    warm_LNC: jax.Array | None,
) -> Task:
    """Returns what is looked for in a linearised network or another one of its interface."""
    shape = linearised.outputs.shape
    if not 1 <= count <= math.prod(shape):
        raise ValueError(f"count is {count}; it must be between 1 and {math.prod(shape)}, N·C")
    mask = jnp.ones((1,) * len(shape)) if mask is None else mask
    mask = jnp.asarray(mask, jnp.float32)
    mask = mask.reshape(*mask.shape, *(1,) * (len(shape) - mask.ndim))
    mask_NC = jnp.broadcast_to(mask, shape).reshape(shape[0], -1)
    key = jax.random.key(0) if key is None else key
    return Task(
        linearised=linearised,
        mask_NC=mask_NC,
        starts_MNC=mask_NC[None] * jax.random.normal(key, (count, *mask_NC.shape)),
        random_NC=mask_NC * jax.random.normal(jax.random.fold_in(key, count), mask_NC.shape),
        warm_LNC=warm_LNC,
        tolerance=tolerance,
        max_iterations=max_iterations,
        vectors_at_once=mask_NC.shape[1],
        explicit_bytes=math.inf,
    )
