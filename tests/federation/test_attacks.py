"""The benchmark of attacks on its smallest federation: two rules, two attacks."""

import pytest

from benchmarks import attacks

pytestmark = pytest.mark.extended


def test_dropping_outliers_saves_a_federation_that_the_mean_loses(data_dir):
    federation = attacks.Federation(
        str(data_dir), rounds=1, seed=0, **{"data.datasets": ("phantom_medvqa/tiny",)}
    )
    names = ["none", "one sends 1e30"]
    rows = attacks.measure(federation, ["mean", "mean, outliers drop"], names)
    alone, lost, with_drop, saved = [row["accuracy"] for row in rows]
    assert lost is None
    assert with_drop == alone
    assert 0 <= saved <= 1
    assert attacks.table(rows).splitlines()[2].endswith("| ended |")
