"""Lanczos iteration for the largest eigenvalues of an operator that is known by its products."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

RESIDUAL, ESTIMATE = "residual", "estimate"
ACCEPTS = (RESIDUAL, ESTIMATE)
"""Errors by which an eigenvalue is accepted: a bound of it, or an estimate that is smaller."""

LARGEST_RESIDUAL = 1e-2
"""Relative residual above which nothing is estimated from it."""

SETTLED = 0.1
"""Change of the gap between two products, relative to itself, up to which it counts as known."""

SQUARINGS = 20
"""Squarings of a tridiagonal matrix, which resolve a gap of 1e-6, the rounding of float32."""

LEADING_SIZES = (16, 32)
"""Sizes of leading blocks of the tridiagonal matrix; the smallest sufficient one is squared."""


@struct.dataclass
class Eigenpair:
    """An eigenvalue, its eigenvector, and how accurate they are.

    Attributes:
      value: float32 [], Ritz value of the largest eigenvalue, a lower bound of it.
      vector: float32, Ritz vector of unit length, shaped as the start vector; 0 for a zero
        operator.
      residual: float32 [], relative residual |A v − λ v| / λ_1. An eigenvalue of A lies within this
        distance, relative to the largest one. With `ESTIMATE`, the estimated relative error where
        there is one.
      iterations: int32 [], products with A that were computed.
    """

    value: jax.Array
    vector: jax.Array
    residual: jax.Array
    iterations: jax.Array


@struct.dataclass
class KrylovSpace:
    """An orthonormal basis of start, A start, A² start and so on, and the projection of A onto it.

    Attributes:
      basis: float32 [M + 1, D]; rows from 0 to `steps` are basis vectors, the others are 0.
      diagonal_M: float32, diagonal of the tridiagonal projection of A.
      off_diagonal_M: float32, off-diagonal of it; the m-th element couples rows m and m + 1.
      steps: int32 [], products with A that were computed.
    """

    basis: jax.Array
    diagonal_M: jax.Array
    off_diagonal_M: jax.Array
    steps: jax.Array

    def extend(self, image_D: jax.Array) -> "KrylovSpace":
        """Returns the next Krylov space, given A times the last basis vector."""
        diagonal_M = self.diagonal_M.at[self.steps].set(self.basis[self.steps] @ image_D)
        for _ in range(2):  # once leaves rounding errors that grow into ghost eigenvalues
            image_D = image_D - (self.basis @ image_D) @ self.basis
        length = jnp.linalg.norm(image_D)
        # Below this the Krylov space is exhausted, and what is left of the image is rounding.
        length = jnp.where(length > 1e-6 * jnp.max(jnp.abs(diagonal_M)), length, 0.0)
        return KrylovSpace(
            basis=self.basis.at[self.steps + 1].set(_divide(image_D, length)),
            diagonal_M=diagonal_M,
            off_diagonal_M=self.off_diagonal_M.at[self.steps].set(length),
            steps=self.steps + 1,
        )

    @property
    def projection(self) -> jax.Array:
        """Tridiagonal projection of A, [M, M]; rows that have not been reached are 0."""
        reached = jnp.arange(len(self.off_diagonal_M) - 1) < self.steps - 1
        off_diagonal = jnp.where(reached, self.off_diagonal_M[:-1], 0.0)
        return jnp.diag(self.diagonal_M) + jnp.diag(off_diagonal, 1) + jnp.diag(off_diagonal, -1)

    def product(self, vector: jax.Array) -> jax.Array:
        """Returns A times the vector, both projected onto this space."""
        basis_MD = self.basis[:-1]
        image_M = self.projection @ (basis_MD @ vector.reshape(-1))
        return (image_M @ basis_MD).reshape(vector.shape)

    def top_ritz_pair(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Returns the largest Ritz value θ, coordinates of its vector v, [M], and |A v − θ v|."""
        matrix = self.projection
        weights_M = _top_vector_of_leading(matrix, self.steps)
        image_M = matrix @ weights_M
        value = weights_M @ image_M
        within = jnp.linalg.norm(image_M - value * weights_M)
        beyond = self.off_diagonal_M[self.steps - 1] * weights_M[self.steps - 1]
        return value, weights_M, jnp.hypot(within, beyond)

    def ritz_gap(self, value: jax.Array, weights_M: jax.Array) -> jax.Array:
        """Returns the difference between the largest Ritz value and the second; 0 without one."""
        matrix = self.projection - value * jnp.outer(weights_M, weights_M)
        second_M = _top_vector_of_leading(matrix, self.steps)
        return jnp.where(self.steps > 1, value - second_M @ matrix @ second_M, 0.0)


def largest_eigenvalue(
    product: Callable[[jax.Array], jax.Array],
    start: jax.Array,
    *,
    tolerance: float,
    max_iterations: int,
    accept: str = RESIDUAL,
    largest: jax.Array | float = 0.0,
) -> tuple[Eigenpair, KrylovSpace]:
    """Runs Lanczos with full reorthogonalisation until the top Ritz pair has converged.

    The basis vectors live in the operator's own space, so that keeping and reorthogonalising them
    costs little beside a product (Golub and Van Loan, Matrix Computations, section 10.3).

    Args:
      product: Maps v to A v for a symmetric positive semi-definite A; `v` is shaped as `start`.
      start: float32 start vector with a component along the top eigenvector, of any length.
      tolerance: Relative residual, or estimated error, at which to stop.
      max_iterations: Maximum number of products; the dimension of A is enough.
      accept: One of `ACCEPTS`. An estimate is wrong as long as an eigenvector near the first one
        has not appeared, see `_estimated_error`.
      largest: λ_1 if A has been deflated, and its own largest eigenvalue may be rounding.

    Returns:
      (top eigenpair, Krylov space that it was found in). A zero operator gives 0 with residual 0.
    """
    size = min(max_iterations, start.size)

    def is_unconverged(state: tuple[KrylovSpace, Any, jax.Array, Any]) -> jax.Array:
        krylov, _, error, _ = state
        return (krylov.steps < size) & (error > tolerance)

    def extend(
        state: tuple[KrylovSpace, Any, jax.Array, Any],
    ) -> tuple[KrylovSpace, Any, jax.Array, Any]:
        krylov, _, _, gap = state
        image = product(krylov.basis[krylov.steps].reshape(start.shape))
        krylov = krylov.extend(image.reshape(-1).astype(jnp.float32))
        value, weights_M, distance = krylov.top_ritz_pair()
        scale = jnp.maximum(value, largest)
        scale = jnp.where(scale > 0, scale, 1.0)
        error = distance / scale
        if accept == ESTIMATE:
            before, gap = gap, krylov.ritz_gap(value, weights_M) / scale
            error = _estimated_error(error, gap, before)
        return krylov, (value, weights_M), error, gap

    krylov = _start_krylov_space(start, size)
    no_gap = jnp.float32(0.0) if accept == ESTIMATE else ()
    first = (jnp.float32(0.0), krylov.diagonal_M)
    state = (krylov, first, jnp.float32(jnp.inf), no_gap)
    krylov, (value, weights_M), residual, _ = jax.lax.while_loop(is_unconverged, extend, state)
    vector = (weights_M @ krylov.basis[:-1]).reshape(start.shape)
    return Eigenpair(value, vector, residual, krylov.steps), krylov


def _estimated_error(residual: jax.Array, gap: jax.Array, before: jax.Array) -> jax.Array:
    """Estimates the relative error of a Ritz value by residual² / gap (Parlett 1998, section 11.7).

    The true gap would make it a bound; that of the Ritz values is too large until an eigenvector of
    the second eigenvalue has appeared.

    Args:
      residual: Relative residual of the top Ritz pair.
      gap: Difference to the second Ritz value, relative to the first one.
      before: The same of one product less; 0 for none.

    Returns:
      The estimate if the residual is small and the gap has settled; the residual otherwise.
    """
    settled = (before > 0) & (jnp.abs(gap - before) <= SETTLED * gap)
    known = settled & (residual <= LARGEST_RESIDUAL)
    return jnp.where(known, jnp.minimum(residual, _divide(residual**2, gap)), residual)


def top_eigenpairs(
    product: Callable[[jax.Array], jax.Array],
    starts_M: jax.Array,
    random: jax.Array,
    *,
    tolerance: float,
    max_iterations: int,
    accept: str = RESIDUAL,
) -> tuple[Eigenpair, jax.Array]:
    """Finds the largest eigenvalues one after the other by deflation.

    A Krylov space holds one vector of every eigenspace, so that a repeated eigenvalue shows only
    once the first of its eigenvectors has been projected out.

    Args:
      product: Maps v to A v as in `largest_eigenvalue`.
      starts_M: Start vector of each of the M eigenvalues wanted.
      random: Vector drawn independently of the start vectors.
      tolerance: Relative residual, or estimated error, at which to stop.
      max_iterations: Maximum number of products for each eigenvalue.
      accept: One of `ACCEPTS`.

    Returns:
      (eigenpairs with a leading axis M, descending except for those that have not converged;
      `random` multiplied by A within the first Krylov space, which amplifies eigenvectors by their
      eigenvalues).
    """
    count, size = len(starts_M), starts_M[0].size

    def deflate(known_MD: jax.Array, vector: jax.Array) -> jax.Array:
        vector_D = vector.reshape(-1)
        return (vector_D - (known_MD @ vector_D) @ known_MD).reshape(vector.shape)

    def step(state: tuple[Any, ...], start: jax.Array) -> tuple[tuple[Any, ...], Any]:
        index, known_MD, largest = state
        pair, krylov = largest_eigenvalue(
            lambda vector: deflate(known_MD, product(deflate(known_MD, vector))),
            deflate(known_MD, start),
            tolerance=tolerance,
            max_iterations=max_iterations,
            accept=accept,
            largest=largest,
        )
        known_MD = known_MD.at[index].set(pair.vector.reshape(-1))
        largest = jnp.maximum(largest, pair.value)
        return (index + 1, known_MD, largest), (pair, krylov.product(random))

    empty_MD = jnp.zeros((count, size), jnp.float32)
    pairs, images_M = jax.lax.scan(step, (0, empty_MD, jnp.float32(0.0)), starts_M)[1]
    return pairs, images_M[0]


def eigenpairs_of_matrix(matrix_DD: jax.Array, count: int) -> Eigenpair:
    """Finds the largest eigenvalues of a small dense matrix.

    Args:
      matrix_DD: float32, symmetric positive semi-definite.
      count: M, number of eigenvalues; those beyond the matrix's size are 0.

    Returns:
      Eigenpairs with a leading axis M, descending; `iterations` are 0.
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


def _start_krylov_space(start: jax.Array, size: int) -> KrylovSpace:
    """Returns the space of the start vector alone, with free rows for `size` products."""
    start_D = start.reshape(-1).astype(jnp.float32)
    basis = jnp.zeros((size + 1, start.size), jnp.float32)
    basis = basis.at[0].set(_divide(start_D, jnp.linalg.norm(start_D)))
    empty_M = jnp.zeros(size, jnp.float32)
    return KrylovSpace(basis, empty_M, empty_M, jnp.int32(0))


def _divide(array: jax.Array, length: jax.Array) -> jax.Array:
    """Divides by a length; returns 0 if the length is 0."""
    return jnp.where(length > 0, array / jnp.where(length > 0, length, 1.0), 0.0)


def _top_vector_of_leading(matrix: jax.Array, rows: jax.Array) -> jax.Array:
    """Returns the top eigenvector of a matrix whose leading rows alone are not 0.

    Args:
      matrix: float32 [M, M], positive semi-definite.
      rows: int32 [], number of leading rows.
    """
    size = len(matrix)
    blocks = [block for block in LEADING_SIZES if block < size] + [size]

    def solve_block(block: int) -> Callable[[jax.Array], jax.Array]:
        return lambda matrix: jnp.pad(_top_vector(matrix[:block, :block]), (0, size - block))

    smallest = jnp.searchsorted(jnp.array(blocks), rows)
    return jax.lax.switch(smallest, [solve_block(block) for block in blocks], matrix)


def _top_vector(matrix: jax.Array) -> jax.Array:
    """Returns a positive semi-definite matrix's top eigenvector, of unit length, by squaring.

    A decomposition into all eigenvalues would cost as much as a product of many operators here.
    """

    def square(_: jax.Array, power: jax.Array) -> jax.Array:
        squared = power @ power
        return _divide(squared, jnp.trace(squared))

    power = jax.lax.fori_loop(0, SQUARINGS, square, _divide(matrix, jnp.trace(matrix)))
    # All columns are multiples of the eigenvector by now; the longest has the most digits.
    column_M = power[:, jnp.argmax(jnp.diag(power))]
    return _divide(column_M, jnp.linalg.norm(column_M))
