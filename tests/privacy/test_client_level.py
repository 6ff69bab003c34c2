"""The server's clipped and noised sum, on two layers of one number each."""

import types

import jax
import numpy as np
import pytest

from f3ocus_jax.aggregation.layerwise import TrainedLayers
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.federation import server_side
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.settings import SelectionConfig
from f3ocus_jax.privacy import secret
from f3ocus_jax.privacy.secret import Secret
from f3ocus_jax.privacy.settings import PrivacyConfig
from f3ocus_jax.types import ServerState

ROWS = {"w": np.array([[1.0], [10.0]], np.float32)}
HEAD = {"answer": {"kernel": np.zeros(1, np.float32)}}
ALMOST_NONE = 1e-6
MOST = 4
"""Clients of a round, of which fewer may answer."""


def make(**settings):
    budgets = types.SimpleNamespace(
        participation=types.SimpleNamespace(most=MOST), budgets_K=np.array([1, 1]), limits=None
    )
    return server_side.make_server_side(
        budgets,
        selection=SelectionConfig(algorithm="own", population=2),
        aggregation=AggregationConfig(weights="equal"),
        privacy=PrivacyConfig(unit="client", **settings),
    )


def sent(layer, change, head=0.0):
    trained = TrainedLayers(np.array([layer], np.int32), {"answer": np.bool_(True)})
    rows_R = {"w": ROWS["w"][[layer]] + np.float32(change)}
    heads = {"answer": {"kernel": np.full(1, head, np.float32)}}
    return trained, 7, 1, ClientUpdate(rows_R, heads, np.ones(1, np.float32), np.bool_(True))


def start(number=4):
    init, _ = server_side.server_optimizer.make_server_optimizer(AggregationConfig())
    return ServerState(ROWS, HEAD, np.int32(number), None, init(ROWS, HEAD))


def change(side, *updates, number=4):
    """Change of (both layers, head) by a round."""
    state, _ = side.take_up(start(number), updates)
    head = np.asarray(state.head["answer"]["kernel"])
    return np.concatenate([(state.rows_L["w"] - ROWS["w"])[:, 0], head])


def test_the_sum_of_clipped_changes_is_divided_by_the_clients_of_a_round():
    side = make(clip=5.0, noise_multiplier=ALMOST_NONE)
    # The second has norm 10 with its head, and is halved.
    found = change(side, sent(0, 2.0), sent(1, -6.0, 8.0))
    np.testing.assert_allclose(found, np.array([2.0, -3.0, 4.0]) / MOST, atol=1e-4)


@pytest.mark.parametrize("value", [0.3, -5.0, 1e6, np.nan])
def test_no_client_moves_the_mean_further_than_its_clipped_norm(value):
    side = make(clip=0.5, noise_multiplier=ALMOST_NONE)
    others = [sent(0, 0.1), sent(1, 0.2, 0.1)]
    with_it = change(side, *others, sent(0, value, 3.0))
    without = change(side, *others)
    assert np.linalg.norm(with_it - without) <= 0.5 / MOST * (1 + 1e-3)


def test_rounds_and_processes_have_noise_of_their_own_and_a_given_secret_repeats_it():
    update = sent(0, 1.0)
    given = make(secret_seed="x")
    first = change(given, update)
    np.testing.assert_array_equal(first, change(make(secret_seed="x"), update))
    noises = [first, change(given, update, number=5), change(make(secret_seed="y"), update)]
    noises += [change(make(), update), change(make(), update)]
    assert len({noise.tobytes() for noise in noises}) == len(noises)


def test_the_noise_of_the_mean_has_the_size_that_the_accountant_counts():
    """Over many rounds, the deviation of every number is clip × multiplier / clients."""
    side = make(clip=2.0, noise_multiplier=3.0, secret_seed="x")
    step, trained_K = side.step, TrainedLayers(np.zeros((1, 1), np.int32), {"answer": np.ones(1)})
    total = jax.jit(side.start)(ROWS, HEAD)
    states = [step(start(number), total, None, trained_K) for number in range(400)]
    changes = np.array([(state.rows_L["w"] - ROWS["w"])[:, 0] for state in states])
    assert changes.std() == pytest.approx(2.0 * 3.0 / MOST, rel=0.1)
    assert abs(np.corrcoef(changes.T)[0, 1]) < 0.2


def test_hosts_of_one_run_draw_the_same_noise(monkeypatch):
    first = Secret(bytes(range(32)))
    monkeypatch.setattr(secret.hosts, "all_gather", lambda own: [first.value.hex(), own])
    assert secret.take_common("") == first
