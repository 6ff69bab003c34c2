"""McNemar's test: two models on the same test questions, from which each answers correctly."""

import dataclasses
import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Result of McNemar's test.

    Attributes:
      only_first: Number of questions that the first model alone answers correctly.
      only_second: Number of questions that the second model alone answers correctly.
      n: Number of questions.
      p_exact: Two-sided p-value of the exact conditional test (binomial); NaN without a question
        on which the models differ.
      p_mid: Its mid-p-value, which is less conservative and holds the level in nearly all cases
        (Fagerland, Lydersen and Laake, 2013).
      reason: Cause of missing p-values, or "".
    """

    only_first: int
    only_second: int
    n: int
    p_exact: float
    p_mid: float
    reason: str = ""


def mcnemar(first: ArrayLike, second: ArrayLike) -> McNemar:
    """Tests whether two models are correct equally often on the same questions.

    Args:
      first: bool [n], True where the first model is correct.
      second: bool [n], the same questions in the same order.

    Returns:
      The test. Questions of one patient or image are not independent, and questions of several
      seeds are the same ones: test one pair of runs at a time.

    Raises:
      ValueError: If the two differ in length.
    """
    first_N, second_N = np.asarray(first, bool), np.asarray(second, bool)
    if first_N.shape != second_N.shape or first_N.ndim != 1:
        raise ValueError(f"shapes {first_N.shape} and {second_N.shape}; give the same questions")
    only_first = int((first_N & ~second_N).sum())
    only_second = int((~first_N & second_N).sum())
    exact, mid, reason = _p_values(only_first, only_second)
    return McNemar(only_first, only_second, len(first_N), exact, mid, reason)


def _p_values(only_first: int, only_second: int) -> tuple[float, float, str]:
    """Returns (exact p, mid-p, reason)."""
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    if discordant == 0:
        return math.nan, math.nan, "the models are correct on the same questions"
    exact = float(stats.binomtest(fewer, discordant, 0.5).pvalue)
    at_observed = float(stats.binom.pmf(fewer, discordant, 0.5))
    # With a tie the two tails share the observed value, of which half counts.
    mid = 1 - at_observed / 2 if only_first == only_second else exact - at_observed
    return exact, mid, ""
