"""Epsilon of composed Gaussian mechanisms, by privacy loss distributions of `dp-accounting`.

Two data sets are neighbours if one has, in place of one unit, a null unit that adds nothing to any
sum, so that the numbers of examples, steps and clients are the same in both and may be known
("zero-out" adjacency, `REPLACE_SPECIAL` in `dp-accounting`).
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

from scipy import optimize

from f3ocus_jax.errors import ConfigError

INTERVAL = 1e-3
"""Grid of the privacy loss; rounding on it is upwards, so that epsilon is never too small."""

LARGEST = 1e6
"""Largest epsilon of Gaussian mechanisms that is told from infinity."""

EXTRA = "pip install 'f3ocus_jax[privacy]'"


@dataclasses.dataclass(frozen=True)
class Mechanism:
    """Gaussian mechanism on a sum over a Poisson sample of the units.

    Attributes:
      noise_multiplier: Standard deviation of the noise, divided by the largest norm of what one
        unit adds to the sum.
      rate: Probability with which each unit is in the sample, independently of the others and
        unknown to the adversary; 1 for all units.
    """

    noise_multiplier: float
    rate: float = 1.0


Releases = Mapping[Mechanism, int]
"""How often each mechanism was used on the same units."""


def check_installed() -> None:
    """Raises ConfigError if `dp-accounting` is not installed."""
    try:
        import dp_accounting  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"config.privacy needs dp-accounting: {EXTRA}") from error


def epsilon(releases: Releases, delta: float) -> float:
    """Returns the epsilon that holds with delta for all releases together.

    Args:
      releases: Number of uses of each mechanism, chosen adaptively or not.
      delta: Probability with which epsilon need not hold, above 0.

    Returns:
      An upper bound of epsilon, >= 0; 0 for no release.
    """
    used = {mechanism: count for mechanism, count in releases.items() if count > 0}
    return _epsilon(frozenset(used.items()), delta) if used else 0.0


@functools.lru_cache(maxsize=4096)
def _epsilon(releases: frozenset[tuple[Mechanism, int]], delta: float) -> float:
    parts = [_composed(one, count) for one, count in releases if one.rate < 1]
    # Gaussian mechanisms on all units are one, of less noise: their precisions add up.
    precision = sum(count / one.noise_multiplier**2 for one, count in releases if one.rate >= 1)
    if not parts:
        return _epsilon_of_gaussian(1 / math.sqrt(precision), delta)
    if precision:
        parts.append(_distribution(Mechanism(1 / math.sqrt(precision))))
    whole = functools.reduce(lambda first, second: first.compose(second), parts)
    return float(whole.get_epsilon_for_delta(delta))


def _epsilon_of_gaussian(noise_multiplier: float, delta: float) -> float:
    """Returns the exact epsilon of one Gaussian mechanism (Balle and Wang, 2018)."""
    from dp_accounting.pld.privacy_loss_mechanism import GaussianPrivacyLoss

    loss = GaussianPrivacyLoss(noise_multiplier)

    def excess(value: float) -> float:
        return loss.get_delta_for_epsilon(value) - delta

    if excess(0.0) <= 0:
        return 0.0
    if excess(LARGEST) > 0:
        return math.inf
    return float(optimize.brentq(excess, 0.0, LARGEST, xtol=1e-9, rtol=1e-12, maxiter=200))


@functools.lru_cache(maxsize=256)
def _composed(mechanism: Mechanism, count: int) -> Any:
    return _distribution(mechanism).self_compose(count)


@functools.lru_cache(maxsize=256)
def _distribution(mechanism: Mechanism) -> Any:
    """Returns the privacy loss distribution of one use of a mechanism."""
    from dp_accounting import NeighboringRelation
    from dp_accounting.pld import privacy_loss_distribution

    return privacy_loss_distribution.from_gaussian_mechanism(
        standard_deviation=mechanism.noise_multiplier,
        sampling_prob=mechanism.rate,
        value_discretization_interval=INTERVAL,
        neighboring_relation=NeighboringRelation.REPLACE_SPECIAL,
    )
