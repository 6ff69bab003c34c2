"""Importance of the layers to one client, and what all scores share."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from f3ocus_jax.models.base import Model
from f3ocus_jax.types import Array, Batch, Params, Rows


@dataclasses.dataclass(frozen=True)
class ScoreContext:
    """Parts of a run that scores are made from; each score reads those it needs.

    Attributes:
      model: Model whose layers are scored.
      unit: Part of a layer that is trained, a key of `units.UNITS`.
      loss: Loss of an answer, a key of `losses.LOSSES`.
      optimizer: Optimizer of the run's local training.
      reduction: Reduction over a layer's elements, "sum" or "mean", for scores of single
        parameters.
      probe_batches: J, batches that the probe examples are dealt to.
    """

    model: Model
    unit: str
    loss: str
    optimizer: optax.GradientTransformation
    reduction: str
    probe_batches: int


@struct.dataclass
class Importance:
    """Importance of the layers to one client; what the client sends to the server.

    Attributes:
      scores_L: float32 in [0, 1], fractions of the client's total importance, summing to 1. The
        server's objectives are made of these, so that all clients weigh the same.
      values_L: float32, the score itself, in its own unit and range: λ_1 for LNTK.
      residuals_L: Relative Lanczos residual of every eigenvalue; above the tolerance, it did not
        converge. None for scores without eigenvalues.
      iterations_L: int32, number of kernel products. None for scores without eigenvalues.
      converged_L: bool, True where the residual is within the tolerance. None for scores without
        eigenvalues.
      vectors_LNC: Eigenvectors, from which the next round's search can start; they stay with the
        client. None unless asked for.
    """

    scores_L: Array
    values_L: Array
    residuals_L: Array | None = None
    iterations_L: Array | None = None
    converged_L: Array | None = None
    vectors_LNC: Array | None = None

    @classmethod
    def empty(cls, shape: tuple[int, ...], *, eigenvalues: bool) -> "Importance":
        """Returns zeros where nothing was scored yet, as NumPy arrays.

        Args:
          shape: [L], or [K, L] for K clients.
          eigenvalues: True for a score that has eigenvalues.
        """
        scores, values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        if not eigenvalues:
            return cls(scores, values)
        residuals, iterations = np.zeros(shape, np.float32), np.zeros(shape, np.int32)
        return cls(scores, values, residuals, iterations, np.zeros(shape, bool))


Score: TypeAlias = Callable[..., Importance]
"""(frozen, rows_L, head, batch, key) -> Importance. `batch` holds the N probe examples; masked ones
do not count. `key` is the client's own for the round. A score that starts warm takes the last
round's `vectors_LNC` as a sixth argument."""


def as_score(
    values: Callable[[Params, Rows, Params, Batch, jax.Array], jax.Array],
    to_fractions: Callable[[jax.Array], jax.Array],
) -> Score:
    """Makes a score from a function that measures the layers.

    Args:
      values: Maps the arguments of a Score to values_L, the raw score of every layer.
      to_fractions: Maps values_L to scores_L; monotone.

    Returns:
      A Score.
    """

    def score(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
    ) -> Importance:
        values_L = values(frozen, rows_L, head, batch, key)
        return Importance(to_fractions(values_L), values_L)

    return score


def fractions(values_L: jax.Array) -> jax.Array:
    """Divides non-negative values by their sum; uniform where the sum is 0."""
    total = jnp.sum(values_L)
    fraction_L = values_L / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, fraction_L, 1.0 / values_L.size)


def shifted_fractions(values_L: jax.Array) -> jax.Array:
    """Subtracts the least of some signed values, and divides by the sum.

    The order and the ratios of all differences are kept. A softmax would need a temperature, and
    ranks would lose the distance between layers. The least layer gets 0.

    Args:
      values_L: float32, any sign.

    Returns:
      float32 in [0, 1], summing to 1; uniform where all values are the same.
    """
    return fractions(values_L - jnp.min(values_L))


def per_layer(elements_L: Rows, reduction: str) -> jax.Array:
    """Adds up or averages the elements of each layer.

    Args:
      elements_L: Pytree with one number per parameter, leading axis L.
      reduction: "sum" or "mean" over a layer's elements.

    Returns:
      [L], float32.
    """
    leaves = [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(elements_L)]
    totals_L = [jnp.sum(leaf, axis=1, dtype=jnp.float32) for leaf in leaves]
    total_L = functools.reduce(jnp.add, totals_L)
    count = sum(leaf.shape[1] for leaf in leaves)
    return total_L / count if reduction == "mean" else total_L


def norms(elements_L: Rows, reduction: str) -> jax.Array:
    """Returns every layer's Euclidean norm, or its root mean square where reduction is "mean"."""
    return jnp.sqrt(per_layer(squares(elements_L), reduction))


def squares(elements: Rows) -> Rows:
    """Squares every element, in float32."""
    return jax.tree.map(lambda leaf: jnp.square(leaf.astype(jnp.float32)), elements)


def products(first: Rows, second: Rows) -> Rows:
    """Multiplies two pytrees element by element, in float32."""
    return jax.tree.map(lambda a, b: a.astype(jnp.float32) * b.astype(jnp.float32), first, second)
