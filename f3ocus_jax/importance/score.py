"""What does a client tell the server about its layers, whichever score it takes?"""

import functools
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
from flax import struct

from f3ocus_jax.types import Batch, Params, Rows


@struct.dataclass
class Importance:
    """What a client tells the server about its layers.

    Attributes:
      scores_L: float32 in [0, 1], the layers' shares of the client's importance, summing to 1:
        what the server's objectives are made of, so that all clients weigh the same.
      values_L: float32, the score itself, in its own unit and range: λ_1 for LNTK.
      residuals_L: relative Lanczos residual of every eigenvalue; above the tolerance, it did not
        converge. None for scores without eigenvalues.
      iterations_L: int32, kernel products taken. None for scores without eigenvalues.
      converged_L: bool, whether the residual is within the tolerance. None for scores without
        eigenvalues.
      vectors_LNC: eigenvectors, in which the next round's search can start; they stay with the
        client. None unless asked for.
    """

    scores_L: jax.Array
    values_L: jax.Array
    residuals_L: jax.Array | None = None
    iterations_L: jax.Array | None = None
    converged_L: jax.Array | None = None
    vectors_LNC: jax.Array | None = None


Score: TypeAlias = Callable[..., Importance]
"""(frozen, rows_L, head, batch, key) -> Importance. `batch` holds the N probe examples, of which
masked ones do not count; `key` is the client's own for the round. A score that starts warm takes
the last round's `vectors_LNC` as a sixth argument."""


def as_score(
    values: Callable[[Params, Rows, Params, Batch, jax.Array], jax.Array],
    to_shares: Callable[[jax.Array], jax.Array],
) -> Score:
    """Makes a score from what measures the layers.

    Args:
      values: takes what a Score takes -> values_L, the raw score of every layer.
      to_shares: values_L -> scores_L; monotone.

    Returns:
      A Score.
    """

    def score(
        frozen: Params, rows_L: Rows, head: Params, batch: Batch, key: jax.Array
    ) -> Importance:
        values_L = values(frozen, rows_L, head, batch, key)
        return Importance(to_shares(values_L), values_L)

    return score


def shares(values_L: jax.Array) -> jax.Array:
    """Returns non-negative values as shares of their sum; uniform where the sum is 0."""
    total = jnp.sum(values_L)
    share_L = values_L / jnp.where(total > 0, total, 1.0)
    return jnp.where(total > 0, share_L, 1.0 / values_L.size)


def shifted_shares(values_L: jax.Array) -> jax.Array:
    """Returns signed values as shares of what each has beyond the least one.

    The order and the ratios of all differences stay, and no temperature has to be chosen, as a
    softmax would need one; ranks would lose how far layers are apart. The least layer gets 0.

    Args:
      values_L: float32, of any sign.

    Returns:
      float32 in [0, 1], summing to 1; uniform where all values are the same.
    """
    return shares(values_L - jnp.min(values_L))


def per_layer(elements_L: Rows, reduction: str) -> jax.Array:
    """Adds up or averages what belongs to one layer.

    Args:
      elements_L: pytree of numbers per parameter, leading axis L.
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
