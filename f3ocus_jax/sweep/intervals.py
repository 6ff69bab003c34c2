"""Intervals of a mean: Student's t over seeds, and a stratified bootstrap over clients."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

LEVEL = 0.95
"""Confidence level of all intervals."""

RESAMPLES = 10_000
"""Number of bootstrap samples; the ends of an interval then vary by about 1 % of its width."""


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with its confidence interval.

    Attributes:
      mean: Mean of the values; NaN if there are none or one of them is NaN.
      low: Lower end; NaN where the values allow no interval.
      high: Upper end; NaN where the values allow no interval.
      n: Number of values.
      reason: Cause of a NaN or of an interval without width; "" otherwise.
    """

    mean: float
    low: float
    high: float
    n: int
    reason: str = ""

    @property
    def half_width(self) -> float:
        """Half of the interval's width; NaN without an interval."""
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """True if 0 lies outside; False without an interval."""
        return self.low > 0 or self.high < 0


def t_interval(values: ArrayLike, level: float = LEVEL) -> Interval:
    """Computes Student's t-interval of a mean, from independent values such as one per seed.

    Args:
      values: Values [n].
      level: Confidence level in (0, 1).

    Returns:
      The interval. One value gives a mean without an interval; NaN among the values gives NaN.
    """
    values_N = np.asarray(values, np.float64)
    n = len(values_N)
    if reason := _unusable(values_N):
        return Interval(math.nan, math.nan, math.nan, n, reason)
    mean = float(values_N.mean())
    if n == 1:
        return Interval(mean, math.nan, math.nan, 1, "one value: an interval needs two")
    if np.ptp(values_N) == 0:
        return Interval(mean, mean, mean, n, f"all {n} values are equal")
    half = float(stats.t.ppf((1 + level) / 2, n - 1) * values_N.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - half, mean + half, n)


def stratified_bootstrap(
    strata: Sequence[ArrayLike],
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Computes a percentile bootstrap interval of the mean over strata of their means.

    The values of each stratum are drawn with replacement, strata stay as they are. With a stratum
    per seed and a value per client, the interval says how the mean would vary with other clients
    like these; how it varies with other seeds is not in it.

    Args:
      strata: Values of each stratum, [n_s] each; strata may differ in size and count equally.
      level: Confidence level in (0, 1).
      resamples: Number of bootstrap samples.
      seed: Seed of the samples; the same seed gives the same interval.

    Returns:
      The interval; `n` counts the values of all strata. No interval without two values in a
      stratum.
    """
    samples = [np.asarray(stratum, np.float64) for stratum in strata]
    every = np.concatenate(samples) if samples else np.zeros(0)
    reason = _unusable(every) or ("a stratum is empty" if not all(map(len, samples)) else "")
    if reason:
        return Interval(math.nan, math.nan, math.nan, len(every), reason)
    mean = float(np.mean([sample.mean() for sample in samples]))
    if max(map(len, samples)) == 1:
        reason = "one value in each stratum: a bootstrap needs two"
        return Interval(mean, math.nan, math.nan, len(every), reason)
    if all(np.ptp(sample) == 0 for sample in samples):
        return Interval(mean, mean, mean, len(every), "the values of each stratum are equal")
    generator = np.random.default_rng(seed)
    means_B = np.mean([_resampled_means(s, resamples, generator) for s in samples], axis=0)
    low, high = np.quantile(means_B, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), len(every))


def _resampled_means(
    values_N: np.ndarray, resamples: int, generator: np.random.Generator
) -> np.ndarray:
    """Returns the means [resamples] of samples with replacement."""
    # How often each value is drawn is all that the mean needs: [resamples, n] whatever n.
    counts_BN = generator.multinomial(
        len(values_N), np.full(len(values_N), 1 / len(values_N)), resamples
    )
    return counts_BN @ values_N / len(values_N)


def _unusable(values_N: np.ndarray) -> str:
    """Returns why no mean can be taken, or ""."""
    if values_N.ndim != 1:
        raise ValueError(f"values have shape {values_N.shape}; give one axis")
    if len(values_N) == 0:
        return "no values"
    bad = int((~np.isfinite(values_N)).sum())
    return f"{bad} of {len(values_N)} values are not finite" if bad else ""
