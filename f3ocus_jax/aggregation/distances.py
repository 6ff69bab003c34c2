"""Robust rules from distances between whole updates of a layer: Krum and geometric median.

A distance is the Euclidean one over all parameters of one layer (or of one entry of the head),
between clients that both trained it. See `robust` for what a rule is.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from f3ocus_jax.aggregation.layerwise import align
from f3ocus_jax.aggregation.robust import ROUNDING, Rule, median
from f3ocus_jax.config import Section, setting
from f3ocus_jax.types import Array, Params


@dataclasses.dataclass(frozen=True)
class KrumOptions(Section):
    """Options of Krum and multi-Krum."""

    share: float = setting(
        0.25,
        "Fraction of a layer's n clients presumed hostile, rounded down to f, at least 1 and at "
        "most what n >= 2 f + 3 allows.",
        at_least=0,
        below=0.5,
    )


@dataclasses.dataclass(frozen=True)
class GeometricMedianOptions(Section):
    """Options of the geometric median."""

    iterations: int = setting(
        32, "Iterations of Weiszfeld's algorithm.", at_least=1, at_most=10_000
    )
    smoothing: float = setting(
        1e-6, "Distance below which a client gains no more weight.", above=0, at_most=1
    )


def krum(changes_K: Params, counted_K: jax.Array, *, share: float, several: bool) -> Params:
    """Returns the update, or the mean of several, that is closest to its neighbours.

    The score of a client is the sum of the squared distances to its n - f - 2 nearest others
    (Blanchard et al., 2017). Krum takes the client of the smallest score; multi-Krum averages the
    n - f - 2 clients of the smallest scores, the most for which Damaskinos et al. (2019) prove
    resilience. Clients of equal scores are averaged, so that their order has no effect: of two
    clients both, of three the closest pair.

    Args:
      changes_K: Pytree with leading axis K.
      counted_K: bool, True for clients that count.
      share: Fraction of clients presumed hostile, see `count_hostile`.
      several: Multi-Krum if True.

    Returns:
      The same pytree without the leading axis.
    """
    count = jnp.sum(counted_K)
    nearest = jnp.maximum(count - count_hostile(count, share) - 2, 1)
    scores_K = krum_scores(changes_K, counted_K, nearest)
    wanted = nearest if several else jnp.ones_like(nearest)
    worst = jnp.sort(scores_K)[wanted - 1]
    return _weighted_mean(changes_K, counted_K & (scores_K <= worst))


def krum_scores(changes_K: Params, counted_K: jax.Array, nearest: Array) -> jax.Array:
    """Returns each counted client's sum of squared distances to its `nearest` nearest others.

    Args:
      changes_K: Pytree with leading axis K.
      counted_K: bool, True for clients that count.
      nearest: int32 [], number of neighbours.

    Returns:
      float32 [K]; infinite for clients that do not count.
    """
    rank_K = jnp.arange(len(counted_K))
    kept_K = _zero_uncounted(changes_K, counted_K)

    def score(index: jax.Array) -> jax.Array:
        squares_K = squared_distances(kept_K, jax.tree.map(lambda leaf: leaf[index], kept_K))
        others_K = counted_K & (rank_K != index)
        ascending_K = jnp.sort(jnp.where(others_K, squares_K, jnp.inf))
        used_K = rank_K < jnp.minimum(nearest, jnp.sum(others_K))
        return jnp.sum(jnp.where(used_K, ascending_K, 0.0))

    return jnp.where(counted_K, jax.lax.map(score, rank_K), jnp.inf)


def count_hostile(count: Array, share: float) -> jax.Array:
    """Returns f, the number of clients presumed hostile: int32 []; see `KrumOptions.share`."""
    wanted = jnp.floor(share * count + ROUNDING).astype(jnp.int32)
    return jnp.minimum(jnp.maximum(wanted, int(share > 0)), jnp.maximum(count - 3, 0) // 2)


def geometric_median(
    changes_K: Params, counted_K: jax.Array, *, iterations: int, smoothing: float
) -> Params:
    """Returns the point with the smallest sum of distances to the counted clients.

    Smoothed Weiszfeld algorithm (Pillutla et al., 2022, algorithm 2), which starts at the median of
    the coordinates: from the mean, one huge update would cost the others their digits.

    Args:
      changes_K: Pytree with leading axis K.
      counted_K: bool, True for clients that count.
      iterations: Number of iterations.
      smoothing: Distance below which the weight of a client does not grow.

    Returns:
      The same pytree without the leading axis.
    """
    kept_K = _zero_uncounted(changes_K, counted_K)

    def step(_: int, centre: Params) -> Params:
        # A distance beyond float32 is infinite and gives a weight of 0.
        distances_K = jnp.sqrt(squared_distances(kept_K, centre))
        return _weighted_mean(kept_K, counted_K / jnp.maximum(distances_K, smoothing))

    return jax.lax.fori_loop(0, iterations, step, median(kept_K, counted_K))


def squared_distances(changes_K: Params, point: Params) -> jax.Array:
    """Returns the squared Euclidean distance of each client's change to a point: float32 [K]."""

    def of_leaf(leaf_K: jax.Array, centre: jax.Array) -> jax.Array:
        return jnp.sum(jnp.square(leaf_K - centre[None]), axis=tuple(range(1, leaf_K.ndim)))

    parts = jax.tree.leaves(jax.tree.map(of_leaf, changes_K, point))
    return functools.reduce(jnp.add, parts) if parts else jnp.zeros(())


def _weighted_mean(changes_K: Params, weights_K: jax.Array) -> Params:
    """Returns the weighted mean; clients of weight 0 may be NaN."""
    total = jnp.sum(weights_K)
    shares_K = weights_K / jnp.where(total > 0, total, 1.0)

    def of_leaf(leaf_K: jax.Array) -> jax.Array:
        aligned_K = align(shares_K, leaf_K)
        return jnp.sum(jnp.where(aligned_K > 0, aligned_K * leaf_K, 0.0), axis=0)

    return jax.tree.map(of_leaf, changes_K)


def _zero_uncounted(changes_K: Params, counted_K: jax.Array) -> Params:
    return jax.tree.map(lambda leaf_K: jnp.where(align(counted_K, leaf_K), leaf_K, 0.0), changes_K)


def make_krum(options: KrumOptions) -> Rule:
    """Makes Krum."""
    return functools.partial(krum, share=options.share, several=False)


def make_multi_krum(options: KrumOptions) -> Rule:
    """Makes multi-Krum."""
    return functools.partial(krum, share=options.share, several=True)


def make_geometric_median(options: GeometricMedianOptions) -> Rule:
    """Makes the geometric median."""
    return functools.partial(
        geometric_median, iterations=options.iterations, smoothing=options.smoothing
    )
