from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.selection import annealing, local_search


def state(archive_PM, used, current_PM):
    """The parts of a state that hold objectives."""
    archive_PM = jnp.asarray(archive_PM, jnp.float32)
    archive = SimpleNamespace(objectives_PM=archive_PM, valid_P=jnp.arange(len(archive_PM)) < used)
    objectives_PM = jnp.asarray(current_PM, jnp.float32)
    return SimpleNamespace(archive=archive, objectives_PM=objectives_PM, generation_counter=0)


def mean_domination(point_M, rivals_QM, extent_M):
    """The mean over the rivals that dominate a point of the product of the gaps that are not 0."""
    amounts = []
    for rival_M in rivals_QM:
        if np.all(rival_M <= point_M) and np.any(rival_M < point_M):
            gaps_M = (point_M - rival_M) / extent_M
            amounts.append(np.prod(gaps_M[gaps_M > 0]))
    return np.mean(amounts) if amounts else 0.0


@pytest.mark.parametrize("seed", [0, 1])
def test_domination_is_the_mean_over_the_rivals_that_dominate(seed):
    """Whole numbers make points that tie in one objective; unused slots of the archive are 0."""
    draw, size, used = np.random.default_rng(seed), 12, 5
    archive_PM = np.zeros((size, 2))
    archive_PM[:used] = np.stack([np.arange(used), used - np.arange(used)], axis=1)
    current_PM, points_PM = draw.integers(0, 9, (2, size, 2)).astype(np.float32)
    search = annealing.Annealing(size, 3, 4)
    held = state(archive_PM, used, current_PM)
    found_P = jax.jit(lambda points_PM: search._domination(points_PM, held))(points_PM)
    extent_M = np.ptp(archive_PM[:used], axis=0)
    expected_P = [
        mean_domination(point_M, [*archive_PM[:used], current_M], extent_M)
        for point_M, current_M in zip(points_PM, current_PM, strict=True)
    ]
    assert len(set(expected_P)) > 4
    np.testing.assert_allclose(found_P, expected_P, rtol=1e-5)


def test_chains_search_near_their_own_trade_off(monkeypatch):
    """All chains stand at the front's end of the most importance, whose weight is 1."""
    size = 200
    search = annealing.Annealing(size, 2, 3)
    monkeypatch.setattr(local_search, "prices", lambda weights_P, extent_M, layers: weights_P)
    monkeypatch.setattr(local_search, "climb", lambda block, prices_P, bias_JLP: prices_P)
    monkeypatch.setattr(search, "_unpack", lambda choices, start, problem: None)
    monkeypatch.setattr(search, "_write_back", lambda choices, start, block, *repairs: block)
    ends = state(np.tile([[-1.0, 1.0], [0.0, 0.0]], (size // 2, 1)), 2, [[-1.0, 1.0]] * size)
    ends.current = None
    ask = jax.jit(lambda key: search._ask(key, ends, search.default_params)[0])
    changes_P = np.asarray(ask(jax.random.key(0))) - 1.0
    assert np.abs(changes_P).max() <= 0.2 + 1e-6
    assert changes_P.min() < -0.19
    assert changes_P.max() > 0.19
    assert abs(changes_P.mean()) < 0.03
