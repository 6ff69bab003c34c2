"""Epsilon is that of dp-accounting's own accountant and of the closed formula."""

import math
import sys

import pytest
from dp_accounting import NeighboringRelation, dp_event
from dp_accounting.pld import pld_privacy_accountant
from scipy.stats import norm

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.privacy import accountant
from f3ocus_jax.privacy.accountant import Mechanism


def of_dp_accounting(releases, delta):
    """Epsilon of events, one after the other, on the grid that the package has by default."""
    relation = NeighboringRelation.REPLACE_SPECIAL
    found = pld_privacy_accountant.PLDAccountant(relation)
    for mechanism, count in releases.items():
        event = dp_event.GaussianDpEvent(mechanism.noise_multiplier)
        if mechanism.rate < 1:
            event = dp_event.PoissonSampledDpEvent(mechanism.rate, event)
        found.compose(event, count)
    return found.get_epsilon(delta)


@pytest.mark.parametrize(
    ("releases", "delta"),
    [
        ({Mechanism(2.0): 1}, 1e-5),
        ({Mechanism(5.0): 30}, 1e-6),
        ({Mechanism(1.1, 0.1): 50}, 1e-5),
        ({Mechanism(1.5, 0.02): 300, Mechanism(8.0): 10}, 1e-5),
    ],
    ids=["gaussian", "composed", "sampled", "sampled and not"],
)
def test_epsilon_is_that_of_dp_accounting(releases, delta):
    expected = of_dp_accounting(releases, delta)
    assert accountant.epsilon(releases, delta) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("multiplier", [0.3, 1.0, 4.0])
def test_epsilon_of_a_gaussian_solves_the_formula_of_balle_and_wang(multiplier):
    value, half = accountant.epsilon({Mechanism(multiplier): 1}, 1e-5), 1 / (2 * multiplier)
    first = norm.cdf(half - value * multiplier)
    second = math.exp(value) * norm.cdf(-half - value * multiplier)
    assert first - second == pytest.approx(1e-5, rel=1e-6)


def test_no_release_costs_nothing_and_more_releases_cost_more():
    assert accountant.epsilon({}, 1e-5) == accountant.epsilon({Mechanism(1.0): 0}, 1e-5) == 0
    costs = [accountant.epsilon({Mechanism(2.0): count}, 1e-5) for count in (1, 2, 5)]
    assert costs == sorted(costs)
    assert costs[0] > 0


def test_a_delta_that_the_noise_reaches_alone_costs_no_epsilon():
    assert accountant.epsilon({Mechanism(100.0): 1}, 0.5) == 0


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ConfigError, match=r"^config.privacy needs dp-accounting: pip install .*$"):
        accountant.check_installed()
