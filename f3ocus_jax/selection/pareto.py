"""Pareto dominance, non-dominated ranks, crowding, truncation and hypervolume.

Both objectives are minimised, shapes are static, and everything jits. A row that holds a NaN, or
that `valid_P` leaves out, dominates nothing and comes after every other.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

COUNTED = 512
"""Number of rows up to which counting the rows before each is faster than XLA's sort on CPU."""


def dominates(left_M: jax.Array, right_M: jax.Array) -> jax.Array:
    """Returns True where a point is no worse in every objective and better in one.

    Args:
      left_M: float32 [..., M], minimised.
      right_M: float32 [..., M], minimised.

    Returns:
      bool [...]; False for equal points and for any that holds a NaN.
    """
    # One objective at a time: XLA does not vectorise a reduction over an axis of length two.
    pairs = [(left_M[..., m], right_M[..., m]) for m in range(left_M.shape[-1])]
    no_worse = functools.reduce(jnp.logical_and, [left <= right for left, right in pairs])
    return no_worse & functools.reduce(jnp.logical_or, [left < right for left, right in pairs])


def usable(objectives_PM: jax.Array, valid_P: jax.Array | None = None) -> jax.Array:
    """Marks rows that can be ranked: those in use and without a NaN.

    Args:
      objectives_PM: float32 [P, M], minimised.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      bool [P].
    """
    numbers_P = ~jnp.any(jnp.isnan(objectives_PM), axis=-1)
    return numbers_P if valid_P is None else numbers_P & valid_P


def order(*keys_P: jax.Array) -> jax.Array:
    """Sorts rows by several keys.

    Args:
      *keys_P: Sort keys without NaN, the most significant first.

    Returns:
      int32 [P], row indices in ascending order; rows that tie in all keys keep their order.
    """
    size = len(keys_P[0])
    if size > COUNTED:
        return jnp.lexsort(keys_P[::-1]).astype(jnp.int32)
    return (
        jnp.zeros(size, jnp.int32).at[sorted_index(*keys_P)].set(jnp.arange(size, dtype=jnp.int32))
    )


def sorted_index(*keys_P: jax.Array) -> jax.Array:
    """Computes every row's index in the order by several keys: the inverse of `order`.

    Args:
      *keys_P: Sort keys without NaN, the most significant first.

    Returns:
      int32 [P], number of rows before each; among ties in all keys, the earlier row comes first.
    """
    size = len(keys_P[0])
    every_P = jnp.arange(size, dtype=jnp.int32)
    if size > COUNTED:
        return jnp.zeros(size, jnp.int32).at[order(*keys_P)].set(every_P)
    # Integers, which XLA vectorises on CPU.
    before_PP = (every_P[:, None] < every_P[None]).astype(jnp.int32)
    for key_P in reversed(keys_P):
        left_PP, right_PP = key_P[:, None], key_P[None]
        before_PP = jnp.where(
            left_PP == right_PP, before_PP, (left_PP < right_PP).astype(jnp.int32)
        )
    return jnp.sum(before_PP, axis=0, dtype=jnp.int32)


def sorted_index_in_rows(*keys_KL: jax.Array) -> jax.Array:
    """Computes every entry's index in its sorted row, as `sorted_index` does, in little memory.

    Args:
      *keys_KL: Sort keys without NaN, the most significant first.

    Returns:
      int32 [K, L].
    """
    every_L = jnp.arange(keys_KL[0].shape[1], dtype=jnp.int32)

    def count(rival: jax.Array, index_KL: jax.Array) -> jax.Array:
        before_KL = jnp.broadcast_to((rival < every_L).astype(jnp.int32)[None], index_KL.shape)
        for key_KL in reversed(keys_KL):
            rival_K1 = jax.lax.dynamic_slice_in_dim(key_KL, rival, 1, axis=1)
            smaller_KL = (rival_K1 < key_KL).astype(jnp.int32)
            before_KL = jnp.where(rival_K1 == key_KL, before_KL, smaller_KL)
        return index_KL + before_KL

    zeros_KL = jnp.zeros(keys_KL[0].shape, jnp.int32)
    return jax.lax.fori_loop(0, len(every_L), count, zeros_KL)


def _by_small(keys_P: jax.Array) -> jax.Array:
    """Sorts by int32 keys in 0 … 2³¹ / 2^b − 1, b the bits of P; equal ones keep their order.

    Key and index share one word: XLA sorts integers ten times faster than rows.
    """
    bits = _index_bits(len(keys_P))
    packed_P = (keys_P << bits) | jnp.arange(len(keys_P), dtype=jnp.int32)
    return jnp.sort(packed_P) & ((1 << bits) - 1)


def _descending(distances_P: jax.Array) -> jax.Array:
    """Converts distances ≥ 0 to keys for `_by_small`, the largest first, in the bits left."""
    ordered_P = jax.lax.bitcast_convert_type(distances_P, jnp.int32)
    return (jnp.int32(0x7FFFFFFF) - ordered_P) >> _index_bits(len(distances_P))


def _index_bits(size: int) -> int:
    return max(size - 1, 1).bit_length()


def first_smallest(values_QP: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Finds the first smallest value of each column, several times faster on CPU than argmin.

    Args:
      values_QP: float32, no NaN.

    Returns:
      (int32 [P], row of the value; float32 [P], the value).
    """
    index_QP = jax.lax.broadcasted_iota(jnp.int32, values_QP.shape, 0)
    smallest_P = jnp.min(values_QP, axis=0)
    hits_QP = values_QP == smallest_P[None]
    return jnp.min(jnp.where(hits_QP, index_QP, len(values_QP)), axis=0), smallest_P


def ranks(objectives_PM: jax.Array, valid_P: jax.Array | None = None) -> jax.Array:
    """Sorts a population into non-dominated fronts (Deb et al. 2002, section III-A).

    Args:
      objectives_PM: float32 [P, 2], minimised.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      ranks_P: int32, 0 for non-dominated rows, 1 for rows dominated by rank 0 alone, and so on;
      P for rows that cannot be ranked. Equal points share a rank.
    """
    sweep = _sweep(objectives_PM, usable(objectives_PM, valid_P))
    ranks_P = _peel(sweep, len(objectives_PM))
    # A repeated point takes the rank of the first like it, which is the last one before it.
    first_P = jax.lax.cummax(jnp.where(sweep.repeats_P, 0, jnp.arange(len(ranks_P))))
    ranks_P = jnp.where(sweep.usable_P, ranks_P[first_P], len(ranks_P))
    return jnp.zeros_like(ranks_P).at[sweep.order_P].set(ranks_P)


def front(objectives_PM: jax.Array, valid_P: jax.Array | None = None) -> jax.Array:
    """Marks the non-dominated rows, one of each set of equal points.

    Args:
      objectives_PM: float32 [P, 2], minimised.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      bool [P].
    """
    sweep = _sweep(objectives_PM, usable(objectives_PM, valid_P))
    front_P = _undominated(sweep.second_P, sweep.usable_P & ~sweep.repeats_P)
    return jnp.zeros_like(front_P).at[sweep.order_P].set(front_P)


def by_crowding(objectives_PM: jax.Array, valid_P: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Orders the front by crowding distance, for an archive that keeps its first rows.

    Args:
      objectives_PM: float32 [P, 2], minimised.
      valid_P: bool [P], rows in use.

    Returns:
      (int32 [P], rows of the front, the least crowded first, padded with a repeated row of the
      front; int32 scalar, number of rows on the front).
    """
    size = len(objectives_PM)
    sweep = _sweep(objectives_PM, usable(objectives_PM, valid_P))
    front_P = _undominated(sweep.second_P, sweep.usable_P & ~sweep.repeats_P)
    members = jnp.sum(front_P, dtype=jnp.int32)
    # The front's rows together, still in order, so that neighbours stand side by side.
    index_P = jnp.where(front_P, jnp.cumsum(front_P) - 1, size)
    along_P = jnp.zeros(size, jnp.int32).at[index_P].set(sweep.order_P, mode="drop")
    points_PM = objectives_PM[along_P]
    extent_M = jnp.abs(points_PM[members - 1] - points_PM[0])
    extent_M = jnp.where(extent_M > 0, extent_M, 1.0)
    gaps_PM = jnp.abs(jnp.roll(points_PM, -1, axis=0) - jnp.roll(points_PM, 1, axis=0))
    distances_P = gaps_PM[:, 0] / extent_M[0] + gaps_PM[:, 1] / extent_M[1]
    every_P = jnp.arange(size)
    distances_P = jnp.where((every_P == 0) | (every_P == members - 1), jnp.inf, distances_P)
    distances_P = jnp.where(every_P < members, distances_P, 0.0)
    return along_P[_by_small(_descending(distances_P))], members


class _Sweep(NamedTuple):
    """A population by ascending first objective, then second, unusable rows last."""

    order_P: jax.Array
    second_P: jax.Array
    usable_P: jax.Array
    repeats_P: jax.Array


def _sweep(objectives_PM: jax.Array, usable_P: jax.Array) -> _Sweep:
    objectives_PM = jnp.where(usable_P[:, None], objectives_PM, jnp.inf)
    order_P = order(~usable_P, objectives_PM[:, 0], objectives_PM[:, 1])
    sorted_PM, usable_P = objectives_PM[order_P], usable_P[order_P]
    same_P = jnp.all(sorted_PM[1:] == sorted_PM[:-1], axis=1)
    repeats_P = jnp.concatenate([jnp.array([False]), same_P]) & usable_P
    return _Sweep(order_P, sorted_PM[:, 1], usable_P, repeats_P)


def _undominated(second_P: jax.Array, left_P: jax.Array) -> jax.Array:
    """Marks rows of a sweep whose second objective is below that of all rows left before them."""
    second_P = jnp.where(left_P, second_P, jnp.inf)
    before_P = jnp.concatenate([jnp.array([jnp.inf]), jax.lax.cummin(second_P)[:-1]])
    return left_P & ((second_P < before_P) | jnp.isinf(before_P))


def _peel(sweep: _Sweep, wanted: int) -> jax.Array:
    """Returns the ranks of a sweep's rows on the best fronts that hold `wanted` rows.

    Rows of later fronts, repeated and unusable ones get P.
    """
    size = len(sweep.second_P)

    def short(carry: tuple) -> jax.Array:
        ranks_P, left_P, _ = carry
        return jnp.any(left_P) & (jnp.sum(ranks_P < size) < wanted)

    def peel(carry: tuple) -> tuple:
        ranks_P, left_P, rank = carry
        front_P = _undominated(sweep.second_P, left_P)
        return jnp.where(front_P, rank, ranks_P), left_P & ~front_P, rank + 1

    start = jnp.full(size, size, jnp.int32), sweep.usable_P & ~sweep.repeats_P, jnp.int32(0)
    return jax.lax.while_loop(short, peel, start)[0]


def crowding(objectives_PM: jax.Array, ranks_P: jax.Array) -> jax.Array:
    """Computes the crowding distance of each point in its front (Deb et al. 2002, section III-B).

    Args:
      objectives_PM: float32 [P, 2]. On a front of two objectives, one ascends as the other
        descends, so that a point has the same neighbours in both.
      ranks_P: int32, ranks as `ranks` returns them.

    Returns:
      distances_P: float32 ≥ 0, the sum over objectives of the gap between a point's two neighbours,
      in units of the population's extent; infinite at the ends of a front, larger is better.
    """
    ranked_P = ranks_P < len(objectives_PM)
    scaled_PM, _ = scaled(objectives_PM, ranked_P)
    scaled_PM = jnp.where(ranked_P[:, None], scaled_PM, 0.0)
    order_P = order(ranks_P, scaled_PM[:, 0], scaled_PM[:, 1])
    sorted_PM, fronts_P = scaled_PM[order_P], ranks_P[order_P]
    first_P = jnp.concatenate([jnp.array([True]), fronts_P[1:] != fronts_P[:-1]])
    last_P = jnp.concatenate([first_P[1:], jnp.array([True])])
    gaps_PM = jnp.abs(jnp.roll(sorted_PM, -1, axis=0) - jnp.roll(sorted_PM, 1, axis=0))
    distances_P = jnp.where(first_P | last_P, jnp.inf, jnp.sum(gaps_PM, axis=1))
    return jnp.where(ranked_P, jnp.zeros_like(distances_P).at[order_P].set(distances_P), 0.0)


def scaled(
    objectives_PM: jax.Array, valid_P: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Scales objectives to [0, 1] over a population.

    Args:
      objectives_PM: float32 [P, M], minimised.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      (scaled_PM, 0 at the population's best; extent_M > 0, the unit of each objective, 1 where all
      values are equal).
    """
    usable_P1 = usable(objectives_PM, valid_P)[:, None]
    lows_M = jnp.min(jnp.where(usable_P1, objectives_PM, jnp.inf), axis=0)
    highs_M = jnp.max(jnp.where(usable_P1, objectives_PM, -jnp.inf), axis=0)
    extent_M = jnp.where(highs_M > lows_M, highs_M - lows_M, 1.0)
    return (objectives_PM - lows_M[None]) / extent_M[None], extent_M


def trade_offs(
    front_PM: jax.Array, points_PM: jax.Array, valid_P: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Computes the trade-off weight of points between the ends of a front (Deb and Goel 2001).

    Args:
      front_PM: float32 [P, 2], minimised.
      points_PM: float32 [any, 2], points on the front or near it.
      valid_P: bool [P], rows of the front in use; all of them if None.

    Returns:
      (weights_P, float32 in [0, 1], the weight of the first objective against the second: 1 for the
      front's best in the first; extent_M, as `scaled` returns it).
    """
    _, extent_M = scaled(front_PM, valid_P)
    usable_P1 = usable(front_PM, valid_P)[:, None]
    highs_M = jnp.max(jnp.where(usable_P1, front_PM, -jnp.inf), axis=0)
    closeness_PM = jnp.clip((highs_M[None] - points_PM) / extent_M[None], 0.0, 1.0)
    total_P = jnp.maximum(jnp.sum(closeness_PM, axis=1), 1e-6)
    return closeness_PM[:, 0] / total_P, extent_M


def best(
    objectives_PM: jax.Array, size: int, valid_P: jax.Array | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Selects survivors by rank, then by crowding, then repeated points.

    Crowding is in units of the extent of the survivors' fronts.

    Args:
      objectives_PM: float32 [P, M], minimised.
      size: Number of survivors, at most P.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      (indices, int32 [size], best first; their ranks, int32 [size], P for a repeated point and
      P + 1 for a row that cannot be ranked; their crowding, float32 [size], 0 for both).
    """
    sweep = _sweep(objectives_PM, usable(objectives_PM, valid_P))
    ranks_P = jnp.zeros(len(objectives_PM), jnp.int32).at[sweep.order_P].set(_peel(sweep, size))
    crowding_P = crowding(objectives_PM, ranks_P)
    ranks_P = jnp.where(usable(objectives_PM, valid_P), ranks_P, len(objectives_PM) + 1)
    uncrowded_P = _by_small(_descending(crowding_P))
    order_P = uncrowded_P[_by_small(ranks_P[uncrowded_P])][:size]
    return order_P, ranks_P[order_P], crowding_P[order_P]


def hypervolume(
    objectives_PM: jax.Array, reference_M: jax.Array, valid_P: jax.Array | None = None
) -> jax.Array:
    """Computes the exact area that a front of two objectives dominates.

    Args:
      objectives_PM: float32 [P, 2], minimised.
      reference_M: float32 [2], corner that bounds the area; points beyond it are ignored.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      float32 scalar ≥ 0.
    """
    inside_P = usable(objectives_PM, valid_P) & jnp.all(objectives_PM < reference_M[None], axis=-1)
    points_PM = jnp.where(inside_P[:, None], objectives_PM, reference_M[None])
    points_PM = points_PM[order(points_PM[:, 0], points_PM[:, 1])]
    floor_P = jax.lax.cummin(points_PM[:, 1])
    ceiling_P = jnp.concatenate([reference_M[1:], floor_P[:-1]])
    return jnp.sum((reference_M[0] - points_PM[:, 0]) * (ceiling_P - floor_P))
