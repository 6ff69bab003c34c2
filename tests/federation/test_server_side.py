"""The server's half of a round on two layers of one number each, worked out by hand."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation.layerwise import LayerWeights, TrainedLayers
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import server_side
from f3ocus_jax.federation.client_side import ClientUpdate
from f3ocus_jax.federation.settings import SelectionConfig
from f3ocus_jax.types import ServerState

ROWS = {"w": np.array([[1.0], [10.0]], np.float32)}


def make(most=3, limits=None, **settings):
    budgets = types.SimpleNamespace(
        participation=types.SimpleNamespace(most=most), budgets_K=np.array([1, 1]), limits=limits
    )
    aggregation = AggregationConfig(**settings)
    selection = SelectionConfig(algorithm="own", population=2)
    return server_side.make_server_side(budgets, selection=selection, aggregation=aggregation)


def sent(layer, change, examples, steps=1):
    """(trained layers, examples, steps, update) of a client that trains one layer."""
    trained = TrainedLayers(np.array([layer], np.int32), {})
    rows_R = {"w": ROWS["w"][[layer]] + np.float32(change)}
    losses_S = np.ones(2, np.float32)
    return trained, examples, steps, ClientUpdate(rows_R, {}, losses_S, np.bool_(True))


def start(**settings):
    init, _ = server_side.server_optimizer.make_server_optimizer(AggregationConfig(**settings))
    return ServerState(ROWS, {}, np.int32(4), None, init(ROWS, {}))


def take_up(side, *updates):
    state, norms = side.take_up(start(), updates)
    assert int(state.round) == 5
    return state.rows_L["w"][:, 0].tolist(), norms


def test_updates_are_averaged_by_examples_among_those_who_trained_a_layer():
    rows, norms = take_up(make(), sent(0, 3.0, 1), sent(0, 7.0, 3), sent(1, -2.0, 5))
    assert rows == [1.0 + (3 + 3 * 7) / 4, 8.0]
    assert norms.norms_K.tolist() == [3.0, 7.0, 2.0]


def test_clients_may_count_the_same_whatever_their_examples():
    rows, _ = take_up(make(weights="equal"), sent(0, 3.0, 1), sent(0, 7.0, 3), sent(1, -2.0, 5))
    assert rows == [1.0 + (3 + 7) / 2, 8.0]


@pytest.mark.parametrize("outliers", ["report", "clip"])
def test_changes_are_normalised_by_steps_among_those_who_trained_a_layer(outliers):
    """FedNova's τ_eff Σ p d, in one sum or over updates that are held; one trainer is unchanged."""
    side = make(weights="steps", outliers=outliers)
    rows, _ = take_up(side, sent(0, 3.0, 1, steps=2), sent(0, 7.0, 3, steps=4), sent(1, -2.0, 5, 9))
    effective = (1 * 2 + 3 * 4) / 4
    assert rows == pytest.approx([1.0 + effective * (1 / 4 * 3 / 2 + 3 / 4 * 7 / 4), 8.0])


def test_clients_that_take_equally_many_steps_are_averaged_by_examples():
    updates = [sent(0, 3.0, 1, steps=6), sent(0, 7.0, 3, steps=6)]
    assert take_up(make(weights="steps"), *updates)[0] == take_up(make(), *updates)[0]


LOW_RANK = {
    "down": np.array([[[1.0], [0.0]]], np.float32),
    "up": np.array([[[1.0, 0.0]]], np.float32),
}
"""One layer, whose change of rank 1 is the matrix of one entry, 1."""


def sent_product(down, up, examples):
    """The update of a client whose change of rank 1 is the outer product of two vectors."""
    maps = {"down": np.float32(down).reshape(1, 2, 1), "up": np.float32(up).reshape(1, 1, 2)}
    trained = TrainedLayers(np.array([0], np.int32), {})
    return trained, examples, 1, ClientUpdate(maps, {}, np.ones(1, np.float32), np.bool_(True))


def after(low_rank, *updates):
    settings = {"low_rank": low_rank}
    init, _ = server_side.server_optimizer.make_server_optimizer(AggregationConfig(**settings))
    state = ServerState(LOW_RANK, {}, np.int32(0), None, init(LOW_RANK, {}))
    rows_L = make(**settings).take_up(state, updates)[0].rows_L
    return np.asarray(rows_L["down"][0] @ rows_L["up"][0])


def test_the_mean_of_products_is_what_the_clients_trained_and_that_of_factors_is_not():
    """Two clients whose products agree, with maps of opposite signs: the factors cancel."""
    updates = sent_product([2, 0], [3, 0], 5), sent_product([-2, 0], [-3, 0], 5)
    np.testing.assert_allclose(after("product", *updates), [[6, 0], [0, 0]], atol=1e-5)
    np.testing.assert_allclose(after("factors", *updates), np.zeros((2, 2)), atol=1e-5)


def test_the_mean_of_products_is_weighted_and_cut_to_the_rank_of_the_maps():
    updates = sent_product([1, 0], [4, 0], 3), sent_product([0, 1], [0, 2], 1)
    np.testing.assert_allclose(after("product", *updates), [[3, 0], [0, 0]], atol=1e-5)


@pytest.mark.parametrize("weights", ["equal", "steps"])
def test_a_rule_with_a_vote_per_client_takes_no_weights(weights):
    with pytest.raises(ConfigError, match=f"weights = '{weights}', must be 'examples'"):
        AggregationConfig(rule="median", weights=weights)


def test_the_server_s_optimizer_takes_the_step():
    half = dataclasses.replace(AggregationConfig().fedavg, learning_rate=0.5)
    rows, _ = take_up(make(fedavg=half), sent(0, 4.0, 1), sent(0, 4.0, 3))
    assert rows == [3.0, 10.0]


def test_the_server_s_optimizer_remembers_the_rounds_before():
    momentum = dataclasses.replace(AggregationConfig().fedavgm, learning_rate=1.0, momentum=0.5)
    settings = {"optimizer": "fedavgm", "fedavgm": momentum}
    side, state = make(**settings), start(**settings)
    state, _ = side.take_up(state, [sent(0, 4.0, 1)])
    np.testing.assert_allclose(state.rows_L["w"][:, 0], [5.0, 10.0])
    *facts, update = sent(0, 0.0, 1)
    update = update.replace(rows_R={"w": np.float32([[6.0]])})  # one more than the model has
    state, _ = side.take_up(state, [(*facts, update)])
    np.testing.assert_allclose(state.rows_L["w"][:, 0], [5.0 + 1.0 + 0.5 * 4.0, 10.0])


def test_an_update_that_is_not_finite_counts_nowhere():
    rows, norms = take_up(make(), sent(0, 3.0, 1), sent(0, np.nan, 9))
    assert rows == [4.0, 10.0]
    assert norms.accepted_K.tolist() == [True, False]


def test_norms_are_those_before_any_clipping():
    rows, norms = take_up(make(clip_norm=2.0), sent(0, 6.0, 1), sent(1, 1.0, 1))
    assert rows == [3.0, 11.0]
    assert norms.norms_K.tolist() == [6.0, 1.0]


@pytest.mark.parametrize("rule", ["mean", "median"])
def test_an_outlier_that_is_dropped_moves_nothing(rule):
    side = make(rule=rule, outliers="drop", outlier_ratio=5.0)
    rows, norms = take_up(side, sent(0, 1.0, 1), sent(0, 2.0, 1), sent(0, 100.0, 1))
    assert norms.accepted_K.tolist() == [True, True, False]
    assert rows == pytest.approx([2.5, 10.0])


def test_an_outlier_that_is_clipped_has_the_largest_norm_that_is_none():
    side = make(outliers="clip", outlier_ratio=5.0)
    rows, norms = take_up(side, sent(0, 1.0, 1), sent(0, 2.0, 1), sent(0, 100.0, 1))
    assert norms.accepted_K.all()
    assert rows == pytest.approx([1.0 + (1 + 2 + 5 * 2) / 3, 10.0])


def test_a_received_update_of_a_robust_rule_is_kept_with_its_weight():
    side = make(rule="median")
    trained, *_, update = sent(1, 4.0, 1)
    weight = LayerWeights(np.array([7.0], np.float32), {})
    rows_L = jax.tree.map(jnp.asarray, ROWS)
    total, received = side.receive((), rows_L, {}, trained, weight, update)
    assert total == ()
    np.testing.assert_array_equal(received.change.rows["w"], [[4.0]])
    assert received.weight is weight


def test_limits_of_the_choice_are_those_of_the_clients_that_are_present():
    given = []
    side = make(limits=lambda present_K, scores_KL: given.append((present_K, scores_KL)))
    scores_KL = np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)
    present_K = np.array([True, False])
    front_PKL = np.zeros((2, 2, 2), bool)
    chosen = side.choose(scores_KL, present_K, front_PKL, jax.random.key(0))
    ((present, scores),) = given
    assert present.tolist() == [True, False]
    np.testing.assert_array_equal(scores, scores_KL)
    np.testing.assert_array_equal(chosen.mask_KL, [[True, False], [False, True]])
