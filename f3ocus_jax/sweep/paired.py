"""Paired comparison of two methods: t-test, Wilcoxon's signed ranks, effect sizes, Holm."""

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MOST_EXACT = 200
"""Largest number of pairs for the exact distribution of signed ranks; the normal one above."""

Pair = TypeVar("Pair", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class Test:
    """Result of a test.

    Attributes:
      statistic: Value of the test statistic; NaN where the test cannot be made.
      p: Two-sided p-value; NaN where the test cannot be made.
      n: Number of observations that it is made from.
      reason: Cause of a missing p-value, or "".
    """

    __test__ = False  # no test for pytest, whatever its name

    statistic: float
    p: float
    n: int
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class EffectSizes:
    """Sizes of a paired difference, positive if the first method is better.

    Attributes:
      cohen_d: Cohen's d_z: mean difference divided by the standard deviation of the differences;
        NaN if they do not vary.
      rank_biserial: Matched-pairs rank-biserial correlation in [-1, 1]: the share of the rank sum
        that speaks for the first method, minus the share against it; NaN if all differences are 0.
    """

    cohen_d: float
    rank_biserial: float


def match(
    first: Mapping[Pair, float], second: Mapping[Pair, float]
) -> tuple[list[Pair], np.ndarray]:
    """Pairs the values of two methods by their keys, such as (seed, client).

    Args:
      first: Key to value of the first method.
      second: Key to value of the second method.

    Returns:
      (the keys that both have, in the order of `first`; the differences first - second). A pair
      with a NaN stays, and no test is made from it in silence.
    """
    keys = [key for key in first if key in second]
    return keys, np.array([first[key] - second[key] for key in keys], np.float64)


def t_test(differences: ArrayLike) -> Test:
    """Tests whether the mean of paired differences is 0, by Student's t.

    Args:
      differences: Differences [n].

    Returns:
      The test; without a p-value for fewer than two differences, for differences that are all
      equal, or for one that is not finite.
    """
    d_N = np.asarray(differences, np.float64)
    if reason := _untestable(d_N):
        return Test(math.nan, math.nan, len(d_N), reason)
    if len(d_N) < 2:
        return Test(math.nan, math.nan, len(d_N), "one pair: the t-test needs two")
    if np.ptp(d_N) == 0:
        return Test(math.nan, math.nan, len(d_N), f"all {len(d_N)} differences are {d_N[0]:.4g}")
    found = stats.ttest_1samp(d_N, 0.0)
    return Test(float(found.statistic), float(found.pvalue), len(d_N))


def wilcoxon(differences: ArrayLike) -> Test:
    """Tests whether paired differences are symmetric around 0, by Wilcoxon's signed ranks.

    Differences of 0, which small test splits often give, are treated as Pratt (1959) does: they are
    ranked with the others and their ranks are then left out. Ties have middle ranks. The p-value is
    exact up to `MOST_EXACT` pairs, given the ties and zeros; above it is the normal approximation
    with the correction for ties and continuity.

    Args:
      differences: Differences [n].

    Returns:
      The test; its statistic is the smaller rank sum. Without a p-value if all differences are 0.
    """
    d_N = np.asarray(differences, np.float64)
    if reason := _untestable(d_N):
        return Test(math.nan, math.nan, len(d_N), reason)
    ranks_N, positive, negative = _signed_rank_sums(d_N)
    statistic = min(positive, negative)
    if positive + negative == 0:
        return Test(math.nan, math.nan, len(d_N), f"all {len(d_N)} differences are 0")
    if len(d_N) > MOST_EXACT:
        found = stats.wilcoxon(d_N, zero_method="pratt", correction=True, method="asymptotic")
        return Test(statistic, float(found.pvalue), len(d_N))
    return Test(statistic, _exact_p(ranks_N[d_N != 0], statistic), len(d_N))


def effect_sizes(differences: ArrayLike) -> EffectSizes:
    """Computes the effect sizes of paired differences.

    Args:
      differences: Differences [n].

    Returns:
      Cohen's d_z and the matched-pairs rank-biserial correlation, the ranks as in `wilcoxon`.
    """
    d_N = np.asarray(differences, np.float64)
    if _untestable(d_N):
        return EffectSizes(math.nan, math.nan)
    varies = len(d_N) > 1 and np.ptp(d_N) > 0
    cohen = float(d_N.mean() / d_N.std(ddof=1)) if varies else math.nan
    _, positive, negative = _signed_rank_sums(d_N)
    total = positive + negative
    return EffectSizes(cohen, (positive - negative) / total if total else math.nan)


def cliffs_delta(first: ArrayLike, second: ArrayLike) -> float:
    """Computes Cliff's delta of two unpaired samples: P(x > y) - P(x < y).

    Args:
      first: Values [n].
      second: Values [m].

    Returns:
      A number in [-1, 1]; NaN for an empty sample or values that are not finite.
    """
    x_N, y_M = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if _untestable(x_N) or _untestable(y_M):
        return math.nan
    return float(np.sign(x_N[:, None] - y_M[None, :]).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for the number of tests, by Holm's step-down procedure.

    Args:
      p_values: One p-value per test; NaN for one that could not be made. It counts as a member of
        the family, so that a family does not shrink with the data.

    Returns:
      Corrected p-values in the same order; NaN stays NaN.
    """
    p_M = np.asarray(p_values, np.float64)
    if not len(p_M):
        return []
    if ((p_M < 0) | (p_M > 1)).any():
        raise ValueError(f"p-values must lie in [0, 1]: {p_M.tolist()}")
    order_M = np.argsort(np.where(np.isnan(p_M), np.inf, p_M), kind="stable")
    scaled_M = p_M[order_M] * np.arange(len(p_M), 0, -1)
    corrected_M = np.empty_like(p_M)
    corrected_M[order_M] = np.minimum(np.maximum.accumulate(scaled_M), 1.0)
    return corrected_M.tolist()


def _signed_rank_sums(d_N: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Returns the ranks [n] of the sizes, and the sums over positive and negative differences.

    Sizes that differ by less than rounding are ties: 0.3 - 0.1 and 0.5 - 0.3 are not equal in
    binary.
    """
    ranks_N = stats.rankdata(np.round(np.abs(d_N), 12))
    return ranks_N, float(ranks_N[d_N > 0].sum()), float(ranks_N[d_N < 0].sum())


def _exact_p(ranks_N: np.ndarray, statistic: float) -> float:
    """Returns the two-sided p-value: the distribution of the rank sum over all signs."""
    doubled_N = np.rint(2 * ranks_N).astype(np.int64)  # middle ranks are halves
    probability = np.zeros(int(doubled_N.sum()) + 1)
    probability[0] = 1.0
    for rank in doubled_N:
        shifted = np.zeros_like(probability)
        shifted[rank:] = probability[: len(probability) - rank]
        probability = (probability + shifted) / 2
    tail = probability[: round(2 * statistic) + 1].sum()
    return float(min(2 * tail, 1.0))


def _untestable(values_N: np.ndarray) -> str:
    """Returns why nothing can be computed, or ""."""
    if values_N.ndim != 1:
        raise ValueError(f"values have shape {values_N.shape}; give one axis")
    if not len(values_N):
        return "no pairs"
    bad = int((~np.isfinite(values_N)).sum())
    return f"{bad} of {len(values_N)} pairs are not finite" if bad else ""
