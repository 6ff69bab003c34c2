"""What is the largest eigenvalue of an operator that is only known by its products?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


@struct.dataclass
class Eigenpair:
    """An eigenvalue and how well it is known.

    Attributes:
      value: float32 [], the largest eigenvalue's Ritz value, a lower bound of it.
      vector: float32, the Ritz vector, of unit length, shaped as the start; 0 for a zero operator.
      residual: float32 [], |A v − λ v| / λ; an eigenvalue lies within this relative distance.
      iterations: int32 [], products with A that were taken.
    """

    value: jax.Array
    vector: jax.Array
    residual: jax.Array
    iterations: jax.Array


def largest_eigenvalue(
    product: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    *,
    tolerance: float,
    max_iterations: int,
) -> Eigenpair:
    """Runs Lanczos with full reorthogonalisation until the top Ritz pair has converged.

    The vectors live in the operator's own space, so that keeping and reorthogonalising them costs
    next to nothing beside a product (Golub and Van Loan, Matrix Computations, section 10.3).

    Args:
      product: v -> A v for a symmetric positive semi-definite A; `v` is shaped as `start`.
      start: float32, any vector with a part in the top eigenvector; need not be normalised.
      tolerance: relative residual at which to stop.
      max_iterations: at most this many products; the dimension of A is enough.

    Returns:
      The top eigenpair. A zero operator gives 0 with residual 0.
    """
    size = min(max_iterations, start.size)

    def keep_going(state: tuple[Any, ...]) -> jax.Array:
        step, _, _, _, residual = state
        return (step < size) & (residual > tolerance)

    def extend(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, basis_MD, diagonal_M, beside_M, _ = state
        vector_D = basis_MD[step]
        image_D = product(vector_D.reshape(start.shape)).reshape(-1).astype(jnp.float32)
        diagonal_M = diagonal_M.at[step].set(vector_D @ image_D)
        for _ in range(2):  # once leaves rounding errors that grow into ghost eigenvalues
            image_D = image_D - (basis_MD @ image_D) @ basis_MD
        length = jnp.linalg.norm(image_D)
        scale = jnp.max(jnp.abs(diagonal_M))
        # Below this the Krylov space is exhausted, and what is left of the image is rounding.
        length = jnp.where(length > 1e-6 * scale, length, 0.0)
        beside_M = beside_M.at[step].set(length)
        basis_MD = basis_MD.at[step + 1].set(_normalise(image_D, length))
        value, weights_M = _top_of_tridiagonal(diagonal_M, beside_M)
        residual = length * jnp.abs(weights_M[step]) / jnp.where(value > 0, value, 1.0)
        return step + 1, basis_MD, diagonal_M, beside_M, residual

    start_D = start.reshape(-1).astype(jnp.float32)
    basis_MD = jnp.zeros((size + 1, start.size), jnp.float32)
    basis_MD = basis_MD.at[0].set(_normalise(start_D, jnp.linalg.norm(start_D)))
    empty_M = jnp.zeros(size, jnp.float32)
    state = (jnp.int32(0), basis_MD, empty_M, empty_M, jnp.float32(jnp.inf))
    steps, basis_MD, diagonal_M, beside_M, residual = jax.lax.while_loop(keep_going, extend, state)
    value, weights_M = _top_of_tridiagonal(diagonal_M, beside_M)
    vector = (weights_M @ basis_MD[:-1]).reshape(start.shape)
    return Eigenpair(value, vector, residual, steps)


def _normalise(vector_D: jax.Array, length: jax.Array) -> jax.Array:
    return jnp.where(length > 0, vector_D / jnp.where(length > 0, length, 1.0), 0.0)


def _top_of_tridiagonal(diagonal_M: jax.Array, beside_M: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Returns the largest eigenvalue and its eigenvector; rows not yet reached are zero."""
    matrix = jnp.diag(diagonal_M) + jnp.diag(beside_M[:-1], 1) + jnp.diag(beside_M[:-1], -1)
    values_M, vectors_MM = jnp.linalg.eigh(matrix)
    return values_M[-1], vectors_MM[:, -1]
