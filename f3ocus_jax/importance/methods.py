"""Four methods for the top eigenvalues of every layer's kernel, all of them exact.

"lanczos" pulls one vector per iteration back to its layer and pushes it forward again. The others
pull all outputs back once, which serves every layer: "sweep" then runs Lanczos within each layer
alone, "gram" forms the kernel itself, and "parameters" the matrix Jᵀ J, which has the same non-zero
eigenvalues and is smaller if a layer has fewer parameters than there are outputs.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from f3ocus_jax.importance import layer_kernel
from f3ocus_jax.importance.eigenproblem import Eigenproblem, NeighbourStart
from f3ocus_jax.importance.lanczos import Eigenpair
from f3ocus_jax.importance.layer_sweep import sweep_layers


def lanczos_method(problem: Eigenproblem) -> Eigenpair:
    """Runs Lanczos on every layer's kernel, from the topmost layer down.

    Args:
      problem: Eigenproblem; `vectors_at_once` and `explicit_bytes` have no effect.

    Returns:
      Eigenpairs with leading axes L, M.
    """

    def visit(neighbour: NeighbourStart, layer: jax.Array) -> tuple[NeighbourStart, Eigenpair]:
        kernel = problem.linearised.kernel_product(layer)

        def product(vector_NC: jax.Array) -> jax.Array:
            return problem.mask_NC * kernel(problem.shaped(vector_NC)).reshape(
                problem.mask_NC.shape
            )

        starts_MNC = problem.start_vectors(layer, neighbour)
        pair, image_NC = problem.solve(product, starts_MNC, problem.random_NC)
        return NeighbourStart(pair.vector[0], image_NC), pair

    return jax.lax.scan(visit, problem.no_neighbour, problem.layers, reverse=True)[1]


def sweep_method(problem: Eigenproblem) -> Eigenpair:
    """Pulls all outputs back once and runs Lanczos within each layer.

    Args:
      problem: Eigenproblem of a `LinearisedNetwork`.

    Returns:
      Eigenpairs with leading axes L, M.
    """

    def visit(
        neighbour: NeighbourStart, layer: jax.Array, pulled: jax.Array
    ) -> tuple[NeighbourStart, Eigenpair]:
        product = layer_kernel.kernel_product(problem, layer, pulled)
        starts_MNC = problem.start_vectors(layer, neighbour)
        pair, image_NC = problem.solve(product, starts_MNC, problem.random_NC)
        return NeighbourStart(pair.vector[0], image_NC), pair

    return sweep_layers(problem, visit)


def gram_method(problem: Eigenproblem) -> Eigenpair:
    """Pulls all outputs back once and forms each layer's kernel J Jᵀ, [N·C, N·C].

    Args:
      problem: Eigenproblem of a `LinearisedNetwork`. Small kernels are decomposed, so that start
        vectors and `max_iterations` have no effect on them.

    Returns:
      Eigenpairs with leading axes L, M.
    """

    def visit(
        neighbour: NeighbourStart, layer: jax.Array, pulled: jax.Array
    ) -> tuple[NeighbourStart, Eigenpair]:
        kernel = layer_kernel.layer_gram(problem, layer, pulled)
        starts_MD = problem.start_vectors(layer, neighbour).reshape(-1, problem.mask_NC.size)
        pair, image_D = problem.solve_matrix(kernel, starts_MD, problem.random_NC.reshape(-1))
        pair = _with_vectors(pair, pair.vector, problem)
        return NeighbourStart(pair.vector[0], image_D.reshape(problem.mask_NC.shape)), pair

    return sweep_layers(problem, visit)


def parameters_method(problem: Eigenproblem) -> Eigenpair:
    """Pulls all outputs back once and forms each layer's Jᵀ J, [P, P].

    Args:
      problem: Eigenproblem of a `LinearisedNetwork`. Small matrices are decomposed, so that start
        vectors and `max_iterations` have no effect on them.

    Returns:
      Eigenpairs with leading axes L, M; the vectors are those of J Jᵀ.
    """

    def visit(
        neighbour: NeighbourStart, layer: jax.Array, pulled: jax.Array
    ) -> tuple[NeighbourStart, Eigenpair]:
        jacobian = layer_kernel.layer_jacobian(problem, layer, pulled)
        starts_MNC = problem.start_vectors(layer, neighbour)
        starts_MP = starts_MNC.reshape(-1, problem.mask_NC.size) @ jacobian
        random_P = problem.random_NC.reshape(-1) @ jacobian
        pair, image_P = problem.solve_matrix(jacobian.T @ jacobian, starts_MP, random_P)
        lengths_M1 = jnp.sqrt(pair.value)[:, None]
        vectors_MD = pair.vector @ jacobian.T / jnp.where(lengths_M1 > 0, lengths_M1, 1.0)
        pair = _with_vectors(pair, vectors_MD, problem)
        shape = problem.mask_NC.shape
        return NeighbourStart(pair.vector[0], (jacobian @ image_P).reshape(shape)), pair

    return sweep_layers(problem, visit)


def _with_vectors(pair: Eigenpair, vectors_MD: jax.Array, problem: Eigenproblem) -> Eigenpair:
    return dataclasses.replace(pair, vector=vectors_MD.reshape(-1, *problem.mask_NC.shape))


METHODS: dict[str, Callable[[Eigenproblem], Eigenpair]] = {
    "lanczos": lanczos_method,
    "sweep": sweep_method,
    "gram": gram_method,
    "parameters": parameters_method,
}
"""Methods by name: eigenproblem -> eigenpairs with leading axes L, M."""
