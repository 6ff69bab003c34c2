"""The eigenvalue problem of all layers' kernels, and the start vectors of Lanczos for it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.importance import lanczos
from f3ocus_jax.importance.lanczos import Eigenpair

SMALL_MATRIX = 128
"""Largest matrix that is decomposed; Lanczos takes less time on larger ones."""

IMAGE, IMAGE_WHEN_WARM = 0.2, 0.1
"""Length, in a start vector, of the image of a random vector under the kernel of the layer above.

The known vector that makes up the rest, the layer above's or the last round's, can be so near to
another eigenvector that it has nearly no component along the top one. The image has components
along all eigenvectors of large eigenvalues above, and the top one here will be among them.
"""

RANDOM, RANDOM_ALONE = 0.03, 0.3
"""Length of a random vector in a start vector, beside such an image and without one."""


@struct.dataclass
class NeighbourStart:
    """Vectors of one layer that make a start vector for the layer below.

    Kernels of neighbouring layers have similar eigenvectors.

    Attributes:
      vector_NC: float32, top eigenvector of the layer; 0 if none is known.
      image_NC: float32, the layer's kernel times a random vector; 0 if unknown.
    """

    vector_NC: jax.Array
    image_NC: jax.Array


@dataclasses.dataclass(frozen=True)
class Eigenproblem:
    """The M largest eigenvalues of every layer's kernel, and how to compute them.

    Attributes:
      linearised: `LinearisedNetwork`, or another object with `outputs`, `num_layers` and
        `kernel_product`.
      mask_NC: float32, 1 for outputs that count and 0 for others, outputs flattened per example.
      starts_MNC: float32, random start vectors of the M eigenvalues, masked.
      random_NC: float32, vector drawn independently of them, masked.
      warm_LNC: float32, vectors near every layer's top eigenvector, 0 where none is known; or None.
      tolerance: Relative residual, or estimated error, at which an eigenvalue is accepted.
      max_iterations: Maximum number of kernel products for one eigenvalue.
      vectors_at_once: Number of cotangents of the whole batch that are pulled back side by side.
      explicit_bytes: Memory for the gradients of one layer, beyond which Gram matrices are computed
        from activations and output gradients.
      accept: One of `lanczos.ACCEPTS`.
    """

    linearised: Any
    mask_NC: jax.Array
    starts_MNC: jax.Array
    random_NC: jax.Array
    warm_LNC: jax.Array | None
    tolerance: float
    max_iterations: int
    vectors_at_once: int
    explicit_bytes: float
    accept: str = lanczos.RESIDUAL

    @property
    def layers(self) -> jax.Array:
        """Indices of all layers."""
        return jnp.arange(self.linearised.num_layers)

    def shaped(self, vector_NC: jax.Array) -> jax.Array:
        """Returns a vector, masked, in the shape of the outputs."""
        return (self.mask_NC * vector_NC).reshape(self.linearised.outputs.shape)

    @property
    def no_neighbour(self) -> NeighbourStart:
        """The neighbour of the topmost layer, which has none."""
        return NeighbourStart(jnp.zeros_like(self.mask_NC), jnp.zeros_like(self.mask_NC))

    def start_vectors(self, layer: jax.Array, neighbour: NeighbourStart) -> jax.Array:
        """Returns a layer's start vectors, [M, N, C].

        The first is near its own eigenvector of the last round, or near its neighbour's.
        """
        known_NC, image = neighbour.vector_NC, jnp.float32(IMAGE)
        if self.warm_LNC is not None:
            warm_NC = self.mask_NC * self.warm_LNC[layer]
            is_warm = jnp.any(warm_NC != 0)
            known_NC = jnp.where(is_warm, _unit(warm_NC), known_NC)
            image = jnp.where(is_warm, IMAGE_WHEN_WARM, IMAGE)
        random = jnp.where(jnp.any(neighbour.image_NC != 0), RANDOM, RANDOM_ALONE)
        first_NC = known_NC + image * _unit(neighbour.image_NC)
        first_NC = first_NC + random * _unit(self.starts_MNC[0])
        return self.starts_MNC.at[0].set(first_NC)

    def solve(
        self, product: Callable[[jax.Array], jax.Array], starts_M: jax.Array, random: jax.Array
    ) -> tuple[Eigenpair, jax.Array]:
        """Runs Lanczos on a kernel; returns (eigenpairs, image of the random vector)."""
        return lanczos.top_eigenpairs(
            product,
            starts_M,
            random,
            tolerance=self.tolerance,
            max_iterations=self.max_iterations,
            accept=self.accept,
        )

    def solve_matrix(
        self, matrix_DD: jax.Array, starts_MD: jax.Array, random_D: jax.Array
    ) -> tuple[Eigenpair, jax.Array]:
        """Solves a dense kernel; returns (eigenpairs, image of the random vector)."""
        if len(matrix_DD) <= SMALL_MATRIX:
            pairs = lanczos.eigenpairs_of_matrix(matrix_DD, len(starts_MD))
            return pairs, matrix_DD @ random_D
        return self.solve(lambda vector: matrix_DD @ vector, starts_MD, random_D)


def _unit(vector_NC: jax.Array) -> jax.Array:
    length = jnp.linalg.norm(vector_NC)
    return vector_NC / jnp.where(length > 0, length, 1.0)
