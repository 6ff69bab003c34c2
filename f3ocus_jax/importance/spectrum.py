"""Top eigenvalues of every layer's neural tangent kernel (F³OCUS, section 3.2).

For layer l with Jacobian J_l = ∂f/∂θ_l over N examples and C outputs each, the layerwise kernel is
Θ_l = J_l J_lᵀ, [N·C, N·C], or [N, N] if f is the loss of each example.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.importance import layer_kernel, plan as plan_lib
from f3ocus_jax.importance.eigenproblem import Eigenproblem, NeighbourStart
from f3ocus_jax.importance.lanczos import ACCEPTS, RESIDUAL, Eigenpair
from f3ocus_jax.importance.layer_sweep import sweep_layers
from f3ocus_jax.importance.linearised_network import LinearisedNetwork
from f3ocus_jax.importance.methods import METHODS
from f3ocus_jax.importance.network import Network
from f3ocus_jax.importance.plan import AUTO, KernelPlan

MEMORY_LIMIT = 2.0**30
"""Default memory beside the parameters, in bytes."""


@struct.dataclass
class Spectrum:
    """The M largest eigenvalues of every layer's kernel, and how accurate they are.

    Attributes:
      values_LM: float32, eigenvalues >= 0, descending.
      residuals_LM: float32, relative residuals |Θ v − λ v| / λ_1. An eigenvalue lies within this
        distance, relative to the layer's largest. With accept="estimate", the estimated errors.
      iterations_LM: int32, kernel products computed; 0 if the kernel was decomposed.
      vectors_LMNC: float32, eigenvectors of unit length, outputs flattened per example; 0 for an
        eigenvalue of 0.
      converged_LM: bool, True if the residual is within the tolerance.
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
    accept: str = RESIDUAL,
) -> Spectrum:
    """Computes the top eigenvalues of every layer's kernel (F³OCUS, section 3.2); it jits.

    Kernels are computed in float32 at the highest matmul precision, whatever dtype the parameters
    have. λ_1 of every layer, `values_LM[:, 0]`, is the layer's LNTK score.

    Args:
      network: Network with its batch of N examples, C outputs each.
      mask: 0 for outputs that do not count, such as those of padding examples, padding tokens or
        closed answer classes, and 1 for others. It has the outputs' first axes, each of their size
        or 1; all outputs count if None. An output that does not count must still be finite.
      count: M, eigenvalues per layer, from 1 to N·C; repeated ones are returned as often as they
        occur.
      method: Key of `methods.METHODS`, or "auto" for the method with the fewest operations.
      memory_limit: Bytes beside the parameters; "auto" stays below them if any method does.
      tolerance: Relative residual at which an eigenvalue is accepted, above 0.
      max_iterations: Kernel products after which an eigenvalue is returned as not converged.
      key: Typed random key of the start vectors; `jax.random.key(0)` if None.
      warm_LNC: float32, earlier eigenvectors of the same examples to start from; 0 for an unknown
        one. Random starts if None.
      accept: Error that the tolerance applies to: "residual", a bound of the error, or "estimate",
        residual² over the gap to the second Ritz value where that has settled, which ends three to
        five products earlier and can be wrong (docs/importance.md).

    Returns:
      Eigenvalues of all layers, float32. An eigenvalue that has not converged is marked in
      `converged_LM`, never raised.

    Raises:
      ValueError: If method or accept are unknown, or `count` is not between 1 and N·C.
    """
    # Kernel products with fewer digits than float32 has would end Lanczos at a wrong residual.
    with jax.default_matmul_precision("highest"):
        problem = make_eigenproblem(
            LinearisedNetwork(network), mask, count, tolerance, max_iterations, key, warm_LNC
        )
        if method not in (AUTO, *METHODS):
            choices = ", ".join(sorted((AUTO, *METHODS)))
            raise ValueError(f"method {method!r} is unknown; choose {choices}")
        if accept not in ACCEPTS:
            raise ValueError(f"accept {accept!r} is unknown; choose {', '.join(ACCEPTS)}")
        plan = plan_lib.choose_method(problem, method=method, memory_limit=memory_limit)
        problem = dataclasses.replace(problem, accept=accept)
        planned = plan_lib.apply_plan(problem, plan, memory_limit)
        return make_spectrum(METHODS[plan.method](planned), tolerance)


def layerwise_trace(
    network: Network, *, mask: jax.Array | None = None, memory_limit: float = MEMORY_LIMIT
) -> jax.Array:
    """Computes the trace of every layer's kernel, the sum of all its eigenvalues; it jits.

    Args:
      network: Network with its batch of N examples.
      mask: Mask of the outputs as in `layerwise_ntk`.
      memory_limit: Bytes beside the parameters, which decide how many outputs are pulled back at
        once.

    Returns:
      trace_L, float32, >= 0.
    """
    with jax.default_matmul_precision("highest"):
        problem = make_eigenproblem(LinearisedNetwork(network), mask, 1, 1e-4, 1, None, None)
        plan = plan_lib.choose_method(problem, method="sweep", memory_limit=memory_limit)
        problem = plan_lib.apply_plan(problem, plan, memory_limit)

        def visit(
            neighbour: NeighbourStart, layer: jax.Array, pulled: jax.Array
        ) -> tuple[NeighbourStart, jax.Array]:
            return neighbour, layer_kernel.layer_trace(problem, layer, pulled)

        return sweep_layers(problem, visit)


def make_spectrum(pairs: Eigenpair, tolerance: float) -> Spectrum:
    """Makes the spectrum of eigenpairs with leading axes L, M."""
    return Spectrum(
        values_LM=pairs.value,
        residuals_LM=pairs.residual,
        iterations_LM=pairs.iterations,
        vectors_LMNC=pairs.vector,
        converged_LM=pairs.residual <= tolerance,
    )


def make_plan(
    network: Network, *, memory_limit: float = MEMORY_LIMIT, count: int = 1
) -> KernelPlan:
    """Returns the method that "auto" takes, and the counted cost of all methods.

    Args:
      network: Network as in `layerwise_ntk`.
      memory_limit: Bytes beside the parameters, as in `layerwise_ntk`.
      count: M, eigenvalues per layer.

    Returns:
      The plan; nothing is computed.
    """
    problem = make_eigenproblem(LinearisedNetwork(network), None, count, 1e-4, 64, None, None)
    return plan_lib.choose_method(problem, method=AUTO, memory_limit=memory_limit)


def make_eigenproblem(
    linearised: Any,
    mask: jax.Array | None,
    count: int,
    tolerance: float,
    max_iterations: int,
    key: jax.Array | None,
    warm_LNC: jax.Array | None,
) -> Eigenproblem:
    """Makes the eigenproblem of a linearised network, or of another object like it.

    Raises:
      ValueError: If `count` is not between 1 and the number of outputs.
    """
    shape = linearised.outputs.shape
    if not 1 <= count <= math.prod(shape):
        raise ValueError(f"count is {count}; it must be between 1 and {math.prod(shape)}, N·C")
    mask = jnp.ones((1,) * len(shape)) if mask is None else mask
    mask = jnp.asarray(mask, jnp.float32)
    mask = mask.reshape(*mask.shape, *(1,) * (len(shape) - mask.ndim))
    mask_NC = jnp.broadcast_to(mask, shape).reshape(shape[0], -1)
    key = jax.random.key(0) if key is None else key
    return Eigenproblem(
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
