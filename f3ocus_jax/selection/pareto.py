"""Which candidates are on the front? Dominance, ranks, crowding, truncation and hypervolume.

All objectives are minimised, shapes are static, and everything jits. A row that holds a NaN, or
that `valid_P` leaves out, dominates nothing and comes after every other.
"""

import jax
import jax.numpy as jnp


def dominates(left_M: jax.Array, right_M: jax.Array) -> jax.Array:
    """Tells whether a point is no worse in every objective and better in one.

    Args:
      left_M: float32 [..., M].
      right_M: float32 [..., M].

    Returns:
      bool [...]; False for equal points and for any that holds a NaN.
    """
    no_worse = jnp.all(left_M <= right_M, axis=-1)
    return no_worse & jnp.any(left_M < right_M, axis=-1)


def usable(objectives_PM: jax.Array, valid_P: jax.Array | None = None) -> jax.Array:
    """Tells which rows may be ranked: those in use and without a NaN.

    Args:
      objectives_PM: float32 [P, M].
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      bool [P].
    """
    numbers_P = ~jnp.any(jnp.isnan(objectives_PM), axis=-1)
    return numbers_P if valid_P is None else numbers_P & valid_P


def ranks(objectives_PM: jax.Array, valid_P: jax.Array | None = None) -> jax.Array:
    """Sorts a population into non-dominated fronts (Deb et al. 2002, section III-A).

    Args:
      objectives_PM: float32 [P, M].
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      ranks_P: int32, 0 for the non-dominated, 1 for those that only rank 0 dominates, and so on;
      P for rows that cannot be ranked. Equal points share a rank.
    """
    usable_P = usable(objectives_PM, valid_P)
    beaten_PP = dominates(objectives_PM[:, None], objectives_PM[None]) & usable_P[:, None]
    worst = len(objectives_PM)

    def peel(carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        ranks_P, rank = carry
        left_P = ranks_P == worst
        beaten_P = jnp.any(beaten_PP & left_P[:, None], axis=0)
        return jnp.where(left_P & usable_P & ~beaten_P, rank, ranks_P), rank + 1

    def unfinished(carry: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.any((carry[0] == worst) & usable_P)

    start = jnp.full(worst, worst, jnp.int32), jnp.int32(0)
    return jax.lax.while_loop(unfinished, peel, start)[0]


def front(objectives_PM: jax.Array, valid_P: jax.Array | None = None) -> jax.Array:
    """Marks the non-dominated rows, one of each set of equal points.

    Args:
      objectives_PM: float32 [P, M].
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      bool [P].
    """
    usable_P = usable(objectives_PM, valid_P)
    beaten_PP = dominates(objectives_PM[:, None], objectives_PM[None]) & usable_P[:, None]
    return usable_P & ~jnp.any(beaten_PP, axis=0) & ~repeats(objectives_PM, usable_P)


def repeats(objectives_PM: jax.Array, valid_P: jax.Array) -> jax.Array:
    """Marks rows whose objectives equal those of an earlier usable row.

    Args:
      objectives_PM: float32 [P, M].
      valid_P: bool [P], rows in use.

    Returns:
      bool [P].
    """
    equal_PP = jnp.all(objectives_PM[:, None] == objectives_PM[None], axis=-1)
    earlier_PP = jnp.triu(jnp.ones_like(equal_PP), k=1)
    return jnp.any(equal_PP & earlier_PP & valid_P[:, None], axis=0)


def crowding(objectives_PM: jax.Array, ranks_P: jax.Array) -> jax.Array:
    """Measures how lonely each point is in its front (Deb et al. 2002, section III-B).

    Args:
      objectives_PM: float32 [P, 2]. On a front of two objectives, one ascends as the other
        descends, so that a point has the same neighbours in both.
      ranks_P: int32, as `ranks` gives them.

    Returns:
      distances_P: float32 ≥ 0, the sum over objectives of the gap between a point's two neighbours,
      in units of the population's extent; infinite at the ends of a front, larger is better.
    """
    ranked_P = ranks_P < len(objectives_PM)
    scaled_PM, _ = scaled(objectives_PM, ranked_P)
    order_P = jnp.lexsort((scaled_PM[:, 1], scaled_PM[:, 0], ranks_P))
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
      objectives_PM: float32 [P, M].
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      (scaled_PM, 0 where the population is best; extent_M > 0, what 1 stands for, and 1 itself for
      an objective in which all are equal).
    """
    usable_P1 = usable(objectives_PM, valid_P)[:, None]
    lows_M = jnp.min(jnp.where(usable_P1, objectives_PM, jnp.inf), axis=0)
    highs_M = jnp.max(jnp.where(usable_P1, objectives_PM, -jnp.inf), axis=0)
    extent_M = jnp.where(highs_M > lows_M, highs_M - lows_M, 1.0)
    return (objectives_PM - lows_M[None]) / extent_M[None], extent_M


def trade_offs(
    front_PM: jax.Array, points_PM: jax.Array, valid_P: jax.Array | None = None
) -> tuple[jax.Array, jax.Array]:
    """Reads off where points stand between the ends of a front (Deb and Goel 2001).

    Args:
      front_PM: float32 [P, 2].
      points_PM: float32 [any, 2], on the front or near it.
      valid_P: bool [P], rows of the front in use; all of them if None.

    Returns:
      (weights_P, float32 in [0, 1], the weight of the first objective against the second: 1 for the
      front's best in the first; extent_M, as `scaled` gives it).
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
    """Chooses who survives: by rank, then by crowding, then repeated points.

    Args:
      objectives_PM: float32 [P, M].
      size: how many survive, at most P.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      (indices, int32 [size], best first; their ranks, int32 [size], P for a repeated point and
      P + 1 for a row that cannot be ranked; their crowding, float32 [size]).
    """
    usable_P = usable(objectives_PM, valid_P)
    ranks_P = ranks(objectives_PM, usable_P & ~repeats(objectives_PM, usable_P))
    crowding_P = crowding(objectives_PM, ranks_P)
    ranks_P = jnp.where(usable_P, ranks_P, len(objectives_PM) + 1)
    order_P = jnp.lexsort((-crowding_P, ranks_P))[:size]
    return order_P, ranks_P[order_P], crowding_P[order_P]


def hypervolume(
    objectives_PM: jax.Array, reference_M: jax.Array, valid_P: jax.Array | None = None
) -> jax.Array:
    """Measures the area that a front dominates, exactly, for two objectives.

    Args:
      objectives_PM: float32 [P, 2].
      reference_M: float32 [2], the corner that bounds the area; points beyond it count nothing.
      valid_P: bool [P], rows in use; all of them if None.

    Returns:
      float32 scalar ≥ 0.
    """
    inside_P = usable(objectives_PM, valid_P) & jnp.all(objectives_PM < reference_M[None], axis=-1)
    points_PM = jnp.where(inside_P[:, None], objectives_PM, reference_M[None])
    points_PM = points_PM[jnp.lexsort((points_PM[:, 1], points_PM[:, 0]))]
    floor_P = jax.lax.cummin(points_PM[:, 1])
    ceiling_P = jnp.concatenate([reference_M[1:], floor_P[:-1]])
    return jnp.sum((reference_M[0] - points_PM[:, 0]) * (ceiling_P - floor_P))
