"""Comparison of several methods by ranks: Friedman's test and Nemenyi's critical difference."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

ALPHA = 0.05
"""Level of all tests."""

FEWEST_BLOCKS = 2
FEWEST_METHODS = 3


@dataclasses.dataclass(frozen=True)
class RankComparison:
    """Ranks of M methods over blocks, such as a client of a task each (Demšar, 2006).

    Attributes:
      average_ranks: Average rank of each method, 1 for the best; NaN without data.
      blocks: Number of blocks that have a value of every method.
      left_out: Number of blocks that lack one.
      statistic: Friedman's chi-squared, with the correction for ties.
      p: Its p-value with M - 1 degrees of freedom; NaN where the test cannot be made.
      critical_difference: Difference of average ranks from which on two methods are separated
        (Nemenyi); NaN where the test cannot be made.
      pairwise_p_MM: Nemenyi's p-value of each pair of methods.
      groups: Indices of methods that cannot be separated, best first: maximal runs of at least two
        whose ranks span less than the critical difference.
      reason: Cause of a missing test, or "".
    """

    average_ranks: list[float]
    blocks: int
    left_out: int
    statistic: float
    p: float
    critical_difference: float
    pairwise_p_MM: np.ndarray
    groups: list[list[int]]
    reason: str = ""


def compare_ranks(values: ArrayLike, alpha: float = ALPHA) -> RankComparison:
    """Ranks methods within blocks and tests whether the ranks differ.

    Args:
      values: Values [blocks, M], larger is better; NaN where a method has none. Blocks must be
        independent: average over seeds first.
      alpha: Level of the critical difference.

    Returns:
      The comparison, made from the blocks without NaN.
    """
    values_BM = np.asarray(values, np.float64)
    if values_BM.ndim != 2:
        raise ValueError(f"values have shape {values_BM.shape}; give blocks and methods")
    whole_BM = values_BM[np.isfinite(values_BM).all(axis=1)]
    blocks, methods = whole_BM.shape
    left_out = len(values_BM) - blocks
    ranks_M = _average_ranks(whole_BM)
    if reason := _too_few(blocks, methods):
        nothing_MM = np.full((methods, methods), math.nan)
        return RankComparison(
            ranks_M, blocks, left_out, math.nan, math.nan, math.nan, nothing_MM, [], reason
        )
    statistic, p = _friedman(whole_BM)
    distance = critical_difference(methods, blocks, alpha)
    return RankComparison(
        average_ranks=ranks_M,
        blocks=blocks,
        left_out=left_out,
        statistic=statistic,
        p=p,
        critical_difference=distance,
        pairwise_p_MM=_nemenyi(np.array(ranks_M), blocks),
        groups=groups_within(ranks_M, distance),
    )


def critical_difference(methods: int, blocks: int, alpha: float = ALPHA) -> float:
    """Computes Nemenyi's critical difference of average ranks.

    Args:
      methods: Number of methods, M.
      blocks: Number of blocks.
      alpha: Level.

    Returns:
      q √(M (M + 1) / (6 blocks)); q is the quantile of the studentized range divided by √2.
    """
    quantile = stats.studentized_range.ppf(1 - alpha, methods, np.inf) / math.sqrt(2)
    return float(quantile * _standard_error(methods, blocks))


def groups_within(average_ranks: Sequence[float], distance: float) -> list[list[int]]:
    """Lists the groups of methods whose average ranks differ by less than a distance.

    Args:
      average_ranks: Average rank of each method.
      distance: Critical difference.

    Returns:
      Maximal groups of at least two indices each, best rank first; groups may overlap.
    """
    order = sorted(range(len(average_ranks)), key=lambda index: average_ranks[index])
    groups: list[list[int]] = []
    end = 0
    for start, first in enumerate(order):
        reach = start
        while reach < len(order) and average_ranks[order[reach]] - average_ranks[first] < distance:
            reach += 1
        if reach > end and reach - start > 1:
            groups.append(order[start:reach])
            end = reach
    return groups


def _average_ranks(values_BM: np.ndarray) -> list[float]:
    if not len(values_BM):
        return [math.nan] * values_BM.shape[1]
    return stats.rankdata(-np.round(values_BM, 12), axis=1).mean(axis=0).tolist()


def _friedman(values_BM: np.ndarray) -> tuple[float, float]:
    """Returns (chi-squared, p); (0, 1) where every block ties all methods."""
    if np.ptp(np.round(values_BM, 12), axis=1).max() == 0:
        return 0.0, 1.0
    found = stats.friedmanchisquare(*np.round(values_BM, 12).T)
    return float(found.statistic), float(found.pvalue)


def _nemenyi(ranks_M: np.ndarray, blocks: int) -> np.ndarray:
    """Returns the p-value of each pair, 1 on the diagonal."""
    methods = len(ranks_M)
    distance_MM = np.abs(ranks_M[:, None] - ranks_M[None, :])
    scaled_MM = distance_MM / _standard_error(methods, blocks) * math.sqrt(2)
    return np.asarray(stats.studentized_range.sf(scaled_MM, methods, np.inf)).clip(0.0, 1.0)


def _standard_error(methods: int, blocks: int) -> float:
    return math.sqrt(methods * (methods + 1) / (6 * blocks))


def _too_few(blocks: int, methods: int) -> str:
    if methods < FEWEST_METHODS:
        return f"{methods} methods: Friedman's test needs {FEWEST_METHODS}"
    if blocks < FEWEST_BLOCKS:
        return f"{blocks} blocks have a value of every method: {FEWEST_BLOCKS} are needed"
    return ""
