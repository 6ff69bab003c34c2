"""What are the largest eigenvalues of an operator that is only known by its products?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

SQUARINGS = 20
"""Of a tridiagonal matrix; a gap of 1e-6, float32's rounding, is resolved by as many."""


@struct.dataclass
class Eigenpair:
    """An eigenvalue and how well it is known.

    Attributes:
      value: float32 [], the largest eigenvalue's Ritz value, a lower bound of it.
      vector: float32, the Ritz vector, of unit length, shaped as the start; 0 for a zero operator.
      residual: float32 [], |A v − λ v| / λ_1; an eigenvalue lies within this distance, relative to
        the largest one.
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
    largest: jax.Array | float = 0.0,
) -> Eigenpair:
    """Runs Lanczos with full reorthogonalisation until the top Ritz pair has converged.

    The vectors live in the operator's own space, so that keeping and reorthogonalising them costs
    next to nothing beside a product (Golub and Van Loan, Matrix Computations, section 10.3).

    Args:
      product: v -> A v for a symmetric positive semi-definite A; `v` is shaped as `start`.
      start: float32, any vector with a part in the top eigenvector; need not be normalised.
      tolerance: relative residual at which to stop.
      max_iterations: at most this many products; the dimension of A is enough.
      largest: λ_1 where A has been deflated and its own largest eigenvalue may be rounding.

    Returns:
      The top eigenpair. A zero operator gives 0 with residual 0.
    """
    size = min(max_iterations, start.size)

    def keep_going(state: tuple[Any, ...]) -> jax.Array:
        step, *_, residual = state
        return (step < size) & (residual > tolerance)

    def extend(state: tuple[Any, ...]) -> tuple[Any, ...]:
        step, basis_MD, diagonal_M, beside_M, *_ = state
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
        basis_MD = basis_MD.at[step + 1].set(_over(image_D, length))
        value, weights_M, within = _top_of_tridiagonal(diagonal_M, beside_M)
        scale = jnp.maximum(value, largest)
        distance = jnp.hypot(within, length * weights_M[step])
        residual = distance / jnp.where(scale > 0, scale, 1.0)
        return step + 1, basis_MD, diagonal_M, beside_M, value, weights_M, residual

    start_D = start.reshape(-1).astype(jnp.float32)
    basis_MD = jnp.zeros((size + 1, start.size), jnp.float32)
    basis_MD = basis_MD.at[0].set(_over(start_D, jnp.linalg.norm(start_D)))
    empty_M = jnp.zeros(size, jnp.float32)
    unknown = (jnp.float32(0.0), empty_M, jnp.float32(jnp.inf))
    state = (jnp.int32(0), basis_MD, empty_M, empty_M, *unknown)
    steps, basis_MD, _, _, value, weights_M, residual = jax.lax.while_loop(
        keep_going, extend, state
    )
    vector = (weights_M @ basis_MD[:-1]).reshape(start.shape)
    return Eigenpair(value, vector, residual, steps)


def top_eigenpairs(
    product: Callable[[jax.Array], jax.Array],
    starts_M: jax.Array,
    *,
    tolerance: float,
    max_iterations: int,
) -> Eigenpair:
    """Finds the largest eigenvalues one after the other, each on what the last ones leave.

    A Krylov space holds one vector of every eigenspace, so that a repeated eigenvalue only shows
    once the first of its vectors has been projected out.

    Args:
      product: as for `largest_eigenvalue`.
      starts_M: a start vector for each of the M eigenvalues wanted.
      tolerance: relative residual at which to stop.
      max_iterations: at most this many products for each.

    Returns:
      Eigenpairs with a leading axis M, descending but for what has not converged.
    """
    count, size = len(starts_M), starts_M[0].size

    def without(found_MD: jax.Array, vector: jax.Array) -> jax.Array:
        vector_D = vector.reshape(-1)
        return (vector_D - (found_MD @ vector_D) @ found_MD).reshape(vector.shape)

    def step(state: tuple[Any, ...], start: jax.Array) -> tuple[tuple[Any, ...], Eigenpair]:
        place, found_MD, largest = state
        pair = largest_eigenvalue(
            lambda vector: without(found_MD, product(without(found_MD, vector))),
            without(found_MD, start),
            tolerance=tolerance,
            max_iterations=max_iterations,
            largest=largest,
        )
        found_MD = found_MD.at[place].set(pair.vector.reshape(-1))
        return (place + 1, found_MD, jnp.maximum(largest, pair.value)), pair

    empty_MD = jnp.zeros((count, size), jnp.float32)
    return jax.lax.scan(step, (0, empty_MD, jnp.float32(0.0)), starts_M)[1]


def eigenpairs_of_matrix(matrix_DD: jax.Array, count: int) -> Eigenpair:
    """Finds the largest eigenvalues of a small matrix that is known.

    Args:
      matrix_DD: float32, symmetric positive semi-definite.
      count: M, how many; those beyond the matrix's size are 0.

    Returns:
      Eigenpairs with a leading axis M, descending; no products were taken.
    """
    values_D, vectors_DD = jnp.linalg.eigh(matrix_DD)
    missing = max(0, count - values_D.size)
    values_M = jnp.pad(values_D[::-1][:count], (0, missing))
    vectors_MD = jnp.pad(vectors_DD.T[::-1][:count], ((0, missing), (0, 0)))
    scale = jnp.where(values_M[0] > 0, values_M[0], 1.0)
    distance_MD = vectors_MD @ matrix_DD - values_M[:, None] * vectors_MD
    return Eigenpair(
        value=jnp.maximum(values_M, 0.0),
        vector=jnp.where(values_M[:, None] > 0, vectors_MD, 0.0),
        residual=jnp.linalg.norm(distance_MD, axis=1) / scale,
        iterations=jnp.zeros(count, jnp.int32),
    )


def _over(array: jax.Array, length: jax.Array) -> jax.Array:
    """Divides by a length; 0 where that is 0."""
    return jnp.where(length > 0, array / jnp.where(length > 0, length, 1.0), 0.0)


def _top_of_tridiagonal(
    diagonal_M: jax.Array, beside_M: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Finds the top eigenpair by squaring; rows not yet reached are zero.

    A decomposition of all eigenvalues would cost as much as a product of many operators here.

    Returns:
      Value, vector of unit length, and the distance |T s − θ s|.
    """
    beside_M = beside_M[:-1]
    matrix = jnp.diag(diagonal_M) + jnp.diag(beside_M, 1) + jnp.diag(beside_M, -1)

    def square(_: jax.Array, power: jax.Array) -> jax.Array:
        squared = power @ power
        return _over(squared, jnp.trace(squared))

    power = jax.lax.fori_loop(0, SQUARINGS, square, _over(matrix, jnp.trace(matrix)))
    # All columns are multiples of the eigenvector by now; the longest has the most digits.
    column_M = power[:, jnp.argmax(jnp.diag(power))]
    vector_M = _over(column_M, jnp.linalg.norm(column_M))
    image_M = matrix @ vector_M
    value = vector_M @ image_M
    return value, vector_M, jnp.linalg.norm(image_M - value * vector_M)
