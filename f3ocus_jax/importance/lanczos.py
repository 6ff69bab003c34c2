"""What are the largest eigenvalues of an operator that is only known by its products?"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

SQUARINGS = 20
"""Of a tridiagonal matrix; a gap of 1e-6, float32's rounding, is resolved by as many."""

BLOCKS = (16, 32)
"""Sizes of smaller matrices that are squared as long as no more rows have been reached."""


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


@struct.dataclass
class Krylov:
    """The vectors start, A start, A² start and so on, orthonormalised, and what A is among them.

    Attributes:
      basis: float32 [M + 1, D]; rows from 0 to `steps` have been reached, and others are 0.
      diagonal_M: float32, of the tridiagonal matrix that A is in this basis.
      beside_M: float32, beside that diagonal: the m-th lies between the rows m and m + 1.
      steps: int32 [], products with A that were taken.
    """

    basis: jax.Array
    diagonal_M: jax.Array
    beside_M: jax.Array
    steps: jax.Array

    def extended(self, image_D: jax.Array) -> "Krylov":
        """Returns the next space, given what A makes of the last vector reached."""
        diagonal_M = self.diagonal_M.at[self.steps].set(self.basis[self.steps] @ image_D)
        for _ in range(2):  # once leaves rounding errors that grow into ghost eigenvalues
            image_D = image_D - (self.basis @ image_D) @ self.basis
        length = jnp.linalg.norm(image_D)
        # Below this the Krylov space is exhausted, and what is left of the image is rounding.
        length = jnp.where(length > 1e-6 * jnp.max(jnp.abs(diagonal_M)), length, 0.0)
        return Krylov(
            basis=self.basis.at[self.steps + 1].set(_over(image_D, length)),
            diagonal_M=diagonal_M,
            beside_M=self.beside_M.at[self.steps].set(length),
            steps=self.steps + 1,
        )

    @property
    def matrix(self) -> jax.Array:
        """What A is among the vectors whose images are known, [M, M]; 0 elsewhere."""
        reached = jnp.arange(len(self.beside_M) - 1) < self.steps - 1
        beside = jnp.where(reached, self.beside_M[:-1], 0.0)
        return jnp.diag(self.diagonal_M) + jnp.diag(beside, 1) + jnp.diag(beside, -1)

    def product(self, vector: jax.Array) -> jax.Array:
        """Returns A times the vector, as far as both lie in this space."""
        basis_MD = self.basis[:-1]
        return ((self.matrix @ (basis_MD @ vector.reshape(-1))) @ basis_MD).reshape(vector.shape)

    def top(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Finds the largest Ritz value θ, its vector's weights, [M], and |A v − θ v|."""
        matrix = self.matrix
        weights_M = _top_vector_of_leading(matrix, self.steps)
        image_M = matrix @ weights_M
        value = weights_M @ image_M
        within = jnp.linalg.norm(image_M - value * weights_M)
        beyond = self.beside_M[self.steps - 1] * weights_M[self.steps - 1]
        return value, weights_M, jnp.hypot(within, beyond)


def largest_eigenvalue(
    product: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    *,
    tolerance: float,
    max_iterations: int,
    largest: jax.Array | float = 0.0,
) -> tuple[Eigenpair, Krylov]:
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
      The top eigenpair, and the space it was found in. A zero operator gives 0 with residual 0.
    """
    size = min(max_iterations, start.size)

    def keep_going(state: tuple[Krylov, Any, jax.Array]) -> jax.Array:
        krylov, _, residual = state
        return (krylov.steps < size) & (residual > tolerance)

    def extend(state: tuple[Krylov, Any, jax.Array]) -> tuple[Krylov, Any, jax.Array]:
        krylov = state[0]
        image = product(krylov.basis[krylov.steps].reshape(start.shape))
        krylov = krylov.extended(image.reshape(-1).astype(jnp.float32))
        value, weights_M, distance = krylov.top()
        scale = jnp.maximum(value, largest)
        return krylov, (value, weights_M), distance / jnp.where(scale > 0, scale, 1.0)

    start_D = start.reshape(-1).astype(jnp.float32)
    basis = jnp.zeros((size + 1, start.size), jnp.float32)
    basis = basis.at[0].set(_over(start_D, jnp.linalg.norm(start_D)))
    empty_M = jnp.zeros(size, jnp.float32)
    krylov = Krylov(basis, empty_M, empty_M, jnp.int32(0))
    state = (krylov, (jnp.float32(0.0), empty_M), jnp.float32(jnp.inf))
    krylov, (value, weights_M), residual = jax.lax.while_loop(keep_going, extend, state)
    vector = (weights_M @ krylov.basis[:-1]).reshape(start.shape)
    return Eigenpair(value, vector, residual, krylov.steps), krylov


def top_eigenpairs(
    product: Callable[[jax.Array], jax.Array],
    starts_M: jax.Array,
    random: jax.Array,
    *,
    tolerance: float,
    max_iterations: int,
) -> tuple[Eigenpair, jax.Array]:
    """Finds the largest eigenvalues one after the other, each on what the last ones leave.

    A Krylov space holds one vector of every eigenspace, so that a repeated eigenvalue only shows
    once the first of its vectors has been projected out.

    Args:
      product: as for `largest_eigenvalue`.
      starts_M: a start vector for each of the M eigenvalues wanted.
      random: a vector drawn independently of them.
      tolerance: relative residual at which to stop.
      max_iterations: at most this many products for each.

    Returns:
      Eigenpairs with a leading axis M, descending but for what has not converged; and A `random`
      in the first one's Krylov space, in which eigenvectors have parts by their eigenvalues.
    """
    count, size = len(starts_M), starts_M[0].size

    def without(found_MD: jax.Array, vector: jax.Array) -> jax.Array:
        vector_D = vector.reshape(-1)
        return (vector_D - (found_MD @ vector_D) @ found_MD).reshape(vector.shape)

    def step(state: tuple[Any, ...], start: jax.Array) -> tuple[tuple[Any, ...], Any]:
        place, found_MD, largest = state
        pair, krylov = largest_eigenvalue(
            lambda vector: without(found_MD, product(without(found_MD, vector))),
            without(found_MD, start),
            tolerance=tolerance,
            max_iterations=max_iterations,
            largest=largest,
        )
        found_MD = found_MD.at[place].set(pair.vector.reshape(-1))
        largest = jnp.maximum(largest, pair.value)
        return (place + 1, found_MD, largest), (pair, krylov.product(random))

    empty_MD = jnp.zeros((count, size), jnp.float32)
    pairs, images_M = jax.lax.scan(step, (0, empty_MD, jnp.float32(0.0)), starts_M)[1]
    return pairs, images_M[0]


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


def _top_vector_of_leading(matrix: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns the top eigenvector of a matrix whose leading rows alone are not 0.

    Args:
      matrix: float32 [M, M], positive semi-definite.
      rows: int32 [], how many.
    """
    size = len(matrix)
    blocks = [block for block in BLOCKS if block < size] + [size]

    def of_block(block: int) -> Callable[[jax.Array], jax.Array]:
        return lambda matrix: jnp.pad(_top_vector(matrix[:block, :block]), (0, size - block))

    smallest = jnp.searchsorted(jnp.array(blocks), rows)
    return jax.lax.switch(smallest, [of_block(block) for block in blocks], matrix)


def _top_vector(matrix: jax.Array) -> jax.Array:
    """Returns a positive semi-definite matrix's top eigenvector, of unit length, by squaring.

    A decomposition of all eigenvalues would cost as much as a product of many operators here.
    """

    def square(_: jax.Array, power: jax.Array) -> jax.Array:
        squared = power @ power
        return _over(squared, jnp.trace(squared))

    power = jax.lax.fori_loop(0, SQUARINGS, square, _over(matrix, jnp.trace(matrix)))
    # All columns are multiples of the eigenvector by now; the longest has the most digits.
    column_M = power[:, jnp.argmax(jnp.diag(power))]
    return _over(column_M, jnp.linalg.norm(column_M))
