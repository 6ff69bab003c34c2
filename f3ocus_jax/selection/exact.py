"""Exact Pareto front, as a selector and as a reference for the searches.

Small problems get the true front: the most important choice for every value of the variance
(`programme.py`). Larger ones get the supported front: the points that are best for some trade-off
(`flow.py`). Layers that must be shared are no flow, and have a true front or none.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.selection import (
    choices as choices_lib,
    flow,
    problem as problem_lib,
    programme,
    selector,
)
from f3ocus_jax.selection.problem import Limits
from f3ocus_jax.selection.selector import Select, Selection, SelectorOptions

TRUE_FRONT_SIZE = 512
"""Largest clients × layers for the true front; its integer programmes take a second or two."""

WITH_COSTS_SIZE = 48
"""Largest clients × layers where layers have costs, so that the number of picks is open too."""


@dataclasses.dataclass(frozen=True)
class Front:
    """An exact front, the most important point first.

    Attributes:
      points_NM: float64 [N, 2], (importance, variance).
      complete: True for the true front, False for its supported points only.
      masks: Function from ascending indices on the front to their choices, bool [P, K, L].
    """

    points_NM: np.ndarray
    complete: bool
    masks: Callable[[np.ndarray], np.ndarray]


def supported_front(
    scores_KL: np.ndarray, budgets_K: np.ndarray, limits: Limits | None = None
) -> Front:
    """Finds every point that is best for some trade-off, by descending importance.

    Args:
      scores_KL: float [K, L], finite.
      budgets_K: int [K], 1 … L.
      limits: Limits beyond the paper's, without costs.

    Returns:
      Front. If one trade-off has several best points, some of those between its ends may be
      missing.
    """
    scores_KL = np.asarray(scores_KL, np.float64)
    start_KL = _start(scores_KL, budgets_K, limits)
    bounds, allowed_KL = (None, None) if limits is None else (limits.bounds, limits.allowed_KL)
    possible_KL = scores_KL if allowed_KL is None else np.where(allowed_KL, scores_KL, -np.inf)
    moves = flow.supported_moves(possible_KL, start_KL, bounds)
    gains_A = (
        scores_KL[moves.clients_A, moves.targets_A] - scores_KL[moves.clients_A, moves.sources_A]
    )
    importance = scores_KL[start_KL].sum()
    importance_N = importance + np.concatenate([[0.0], np.cumsum(gains_A)])[moves.ends_N]
    variance_N = _variances(start_KL.sum(axis=0), moves)
    start_1M = [[importance, np.var(start_KL.sum(axis=0))]]
    points_NM = np.concatenate([start_1M, np.stack([importance_N, variance_N], axis=1)])
    return Front(points_NM, False, lambda index_P: _replay(start_KL, moves, index_P))


def _start(scores_KL: np.ndarray, budgets_K: np.ndarray, limits: Limits | None) -> np.ndarray:
    """Returns the most important choice."""
    if limits is not None:
        return np.array(limits.start_KL)
    order_KL = np.argsort(-scores_KL, axis=1, kind="stable")
    return np.argsort(order_KL, axis=1) < np.asarray(budgets_K)[:, None]


def _replay(start_KL: np.ndarray, moves: flow.Moves, index_P: np.ndarray) -> np.ndarray:
    mask_KL, result, walked = start_KL.copy(), [], 0
    for index in index_P:
        end = moves.ends_N[index - 1] if index else 0
        for arc in range(walked, end):
            mask_KL[moves.clients_A[arc], moves.sources_A[arc]] = False
            mask_KL[moves.clients_A[arc], moves.targets_A[arc]] = True
        walked = end
        result.append(mask_KL.copy())
    return np.stack(result)


def _variances(histogram_L: np.ndarray, moves: flow.Moves) -> np.ndarray:
    """Follows the variance along the moves; a path changes the counts of its ends only."""
    first_N = np.concatenate([[0], moves.ends_N]).astype(np.int64)[:-1]
    # An arc's log begins at the path's last layer.
    targets_N, sources_N = moves.targets_A[first_N], moves.sources_A[moves.ends_N - 1]
    counts_L, change_N = histogram_L.astype(np.int64), np.zeros(len(first_N))
    for n, (source, target) in enumerate(zip(sources_N, targets_N, strict=True)):
        change_N[n] = 2 * (counts_L[target] - counts_L[source] + 1)
        counts_L[source] -= 1
        counts_L[target] += 1
    return np.var(histogram_L) + np.cumsum(change_N) / len(histogram_L)


def true_front(scores_KL: np.ndarray, budgets_K: np.ndarray, limits: Limits | None = None) -> Front:
    """Finds the whole front by one integer programme per value of the variance.

    Args:
      scores_KL: float [K, L], finite.
      budgets_K: int [K], 1 … L; unused if the limits have costs.
      limits: Limits beyond the paper's.

    Returns:
      Front, unsupported points included.
    """
    scores_KL = np.asarray(scores_KL, np.float64)
    found = list(programme.descend(scores_KL, np.asarray(budgets_K), limits))
    masks_NKL = np.stack(_reduce(found, scores_KL))
    points_NM = np.array([_point(mask_KL, scores_KL) for mask_KL in masks_NKL])
    return Front(points_NM, True, lambda index_P: masks_NKL[index_P])


def _point(mask_KL: np.ndarray, scores_KL: np.ndarray) -> tuple[float, float]:
    return float(scores_KL[mask_KL].sum()), float(np.var(mask_KL.sum(axis=0)))


def _reduce(masks: list[np.ndarray], scores_KL: np.ndarray) -> list[np.ndarray]:
    """Drops choices that a later one, of less variance, equals in importance."""
    kept: list[np.ndarray] = []
    best = -np.inf
    for mask_KL in reversed(masks):
        importance, _ = _point(mask_KL, scores_KL)
        if importance > best:
            kept, best = [mask_KL, *kept], importance
    return kept


def find_front(scores_KL: np.ndarray, budgets_K: np.ndarray, limits: Limits | None = None) -> Front:
    """Finds the true front of a small problem, and the supported front of any other.

    Args:
      scores_KL: float [K, L], finite.
      budgets_K: int [K], 1 … L; unused if the limits have costs.
      limits: Limits beyond the paper's.

    Returns:
      Front; `complete` tells the two apart.

    Raises:
      ValueError: If layers have costs and the problem is larger than `WITH_COSTS_SIZE`, or if they
        must be shared and it is larger than `TRUE_FRONT_SIZE`.
    """
    size = np.size(scores_KL)
    if limits is not None and limits.sharers is not None and size > TRUE_FRONT_SIZE:
        raise ValueError(
            f"selection algorithm 'exact': with a least number of sharers it takes at most "
            f"{TRUE_FRONT_SIZE} clients × layers, and there are {size}; choose another algorithm"
        )
    if limits is not None and limits.costs is not None:
        if size > WITH_COSTS_SIZE:
            raise ValueError(
                f"selection algorithm 'exact': with layers of unequal cost it takes at most "
                f"{WITH_COSTS_SIZE} clients × layers, and there are {size}; choose another "
                "algorithm, or give budgets in layers"
            )
        return true_front(scores_KL, budgets_K, limits)
    return (true_front if size <= TRUE_FRONT_SIZE else supported_front)(
        scores_KL, budgets_K, limits
    )


def make_exact_selector(options: SelectorOptions) -> Select:
    """Makes a selector that returns the exact front; it runs on the host and ignores seeds.

    Args:
      options: Options of the selector. A front of more than `options.population` points is thinned
        to that number at even distances.

    Returns:
      A `Select`.
    """
    population = options.population
    finish = selector.make_select(
        lambda key, problem, masks_PKL: choices_lib.pack(masks_PKL), options
    )

    def select(
        key: jax.Array,
        scores_KL: jax.Array,
        budgets_K: jax.Array,
        seeds_PKL: jax.Array,
        limits: Limits | None = None,
    ) -> Selection:
        del seeds_PKL
        finite_KL = np.asarray(problem_lib.make_problem(scores_KL, budgets_K).scores_KL)
        front = find_front(finite_KL, np.asarray(budgets_K), limits)
        masks_NKL = front.masks(_evenly_apart(front.points_NM, population))
        unused = ((0, population - len(masks_NKL)), (0, 0), (0, 0))
        masks_PKL = jnp.asarray(np.pad(masks_NKL, unused))
        whole = front.complete and len(front.points_NM) <= population
        chosen = finish(key, jnp.asarray(scores_KL), jnp.asarray(budgets_K), masks_PKL, limits)
        return dataclasses.replace(chosen, complete=jnp.bool_(whole))

    return select


def _evenly_apart(points_NM: np.ndarray, size: int) -> np.ndarray:
    """Returns up to `size` indices at even distances along a front, its ends included."""
    if len(points_NM) <= size:
        return np.arange(len(points_NM))
    steps_NM = np.abs(np.diff(points_NM, axis=0)) / np.ptp(points_NM, axis=0)
    along_N = np.concatenate([[0.0], np.cumsum(np.hypot(*steps_NM.T))])
    index_P = np.searchsorted(along_N, np.linspace(0.0, along_N[-1], size))
    return np.unique(np.append(index_P[:-1], len(points_NM) - 1))
