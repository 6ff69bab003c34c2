"""One round's training stage: streaming, uneven clients, failures, and what becomes of updates."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks import attacks
from f3ocus_jax.aggregation.weights import cap_shares
from f3ocus_jax.clients import Choice, LocalTask, gradient, local, placement
from f3ocus_jax.errors import RoundError
from f3ocus_jax.models import units
from tests.helpers import replay, training_stage
from tests.helpers.oracles import toy_batch, toy_model
from tests.helpers.training_stage import (
    BROKEN,
    CLIENTS,
    LAYERS,
    LAYERS_KR,
    SIZES,
    cached_stages,
    clients,
    config,
    train_round,
)


def run(present_K=None, broken=False, number=1, **settings):
    """Trains one round; returns (state before, state after, outcome)."""
    stages = cached_stages(broken, tuple(settings.items()))
    state = dataclasses.replace(stages.start, round=jnp.int32(number - 1))
    return state, *train_round(stages, state, present_K)


@functools.cache
def changes_one_by_one():
    """Every client's change when it trains alone, by optax in float64: lists of (layers, head)."""
    rows, heads = [], []
    model, start = toy_model(layers=LAYERS), cached_stages(False, ()).start
    params = replay.to_float64(model.init(jax.random.key(0)))
    with jax.enable_x64(True):
        alone = replay.Replay(config(), model, params, clients())
        before = replay.to_float64({"rows": start.rows_L, "head": start.head})
        for client, layers_R in zip(alone.clients, LAYERS_KR, strict=True):
            after = alone.train(start, 1, client, [x for x in layers_R if x < LAYERS]).after
            change = jax.tree.map(np.subtract, after, before)
            rows.append(change["rows"])
            heads.append(change["head"])
    return rows, heads


def combined(combine):
    """(layers, head) after combining the clients' own changes with a NumPy rule."""
    rows, heads = changes_one_by_one()

    def of_layer(leaves, layer):
        who = [k for k in range(CLIENTS) if layer in LAYERS_KR[k]]
        return combine(np.stack([leaves[k][layer] for k in who]), np.array(SIZES)[who])

    of_rows = jax.tree.map(lambda *leaves: np.stack([of_layer(leaves, i) for i in range(4)]), *rows)
    return of_rows, jax.tree.map(lambda *leaves: combine(np.stack(leaves), np.array(SIZES)), *heads)


def assert_changed_by(before, after, expected, atol):
    for then, now, by in zip(
        jax.tree.leaves((before.rows_L, before.head)),
        jax.tree.leaves((after.rows_L, after.head)),
        jax.tree.leaves(expected),
        strict=True,
    ):
        np.testing.assert_allclose(np.asarray(now) - np.asarray(then), by, atol=atol)


def mean(values, weights):
    return np.average(values, axis=0, weights=weights)


def median(values, weights):
    del weights
    return np.median(values, axis=0)


def trimmed_mean(values, weights):
    del weights
    cut = min(max(int(0.3 * len(values)), 1), (len(values) - 1) // 2)
    return np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)


@pytest.mark.parametrize(
    "layout",
    [
        {"placement": "loop"},
        {"placement": "map", "clients_in_memory": 1},
        {"placement": "map", "clients_in_memory": 0},
        {"placement": "map", "clients_in_memory": 4, "clients_at_once": 2},
        {"placement": "pmap", "clients_in_memory": 1},
        {"placement": "pmap", "clients_in_memory": 2, "clients_at_once": 2},
    ],
    ids=lambda layout: " ".join(str(value) for value in layout.values()),
)
def test_groups_of_any_size_anywhere_give_the_mean_of_clients_trained_alone(layout):
    settings = {f"federated__{name}": value for name, value in layout.items()}
    before, after, outcome = run(**settings)
    assert_changed_by(before, after, combined(mean), 2e-6)
    assert outcome.steps_K.tolist() == [1, 2, 2, 3, 1, 3, 2]
    assert outcome.left_out == [None] * CLIENTS


@pytest.mark.parametrize(
    ("head", "rounds"), [("every_round", (1, 2, 3)), ("first_rounds", (1, 2)), ("frozen", ())]
)
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_the_head_is_trained_in_its_rounds_and_else_stays_bit_for_bit(head, rounds, rule):
    settings = {"training__head": head, "training__head_rounds": 2, "aggregation__rule": rule}
    stages = cached_stages(False, tuple(settings.items()))
    state = stages.start
    for number in (1, 2, 3):
        after, outcome = train_round(stages, state)
        moved = [
            not np.array_equal(leaf, other)
            for leaf, other in zip(
                jax.tree.leaves(after.head), jax.tree.leaves(state.head), strict=True
            )
        ]
        assert moved == [number in rounds] * len(moved)
        assert not np.array_equal(after.rows_L["in"], state.rows_L["in"])
        assert np.isfinite(outcome.norms.norms_K).all()
        state = after


@pytest.mark.parametrize("rule", [median, trimmed_mean])
def test_robust_rules_combine_the_clients_coordinate_by_coordinate(rule):
    settings = {"aggregation__rule": rule.__name__, "aggregation__trimmed_mean__share": 0.3}
    before, after, _ = run(**settings, federated__clients_in_memory=1)
    assert_changed_by(before, after, combined(rule), 2e-6)


def test_a_client_that_returns_nan_is_left_out_and_named_and_the_round_goes_on():
    _, after, outcome = run(broken=True)
    assert outcome.left_out[BROKEN].startswith("step 1: the training loss is nan")
    assert [reason for reason in outcome.left_out if reason] == [outcome.left_out[BROKEN]]
    _, expected, _ = run(np.arange(CLIENTS) != BROKEN)
    for leaf, known in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, known, atol=1e-6)


@pytest.mark.parametrize("rule", ["median", "trimmed_mean"])
def test_robust_rules_leave_nan_out_too(rule):
    _, after, _ = run(broken=True, aggregation__rule=rule)
    _, expected, _ = run(np.arange(CLIENTS) != BROKEN, aggregation__rule=rule)
    for leaf, known in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, known)


def test_clients_that_drop_out_and_stragglers_are_recorded():
    settings = {"federated__dropout": 0.5, "federated__stragglers": 0.5}
    _, after, outcome = run(**settings, number=2)
    lost_K = np.array([reason == "dropped out" for reason in outcome.left_out])
    assert 0 < lost_K.sum() < CLIENTS
    assert not outcome.steps_K[lost_K].any()
    assert outcome.straggled_K.any()
    assert np.all(outcome.losses_KS[np.arange(3) >= outcome.steps_K[:, None]] == 0)
    _, expected, _ = run(~lost_K, number=2, federated__stragglers=0.5)
    for leaf, known in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, known, atol=1e-6)


def test_too_few_clients_end_the_run_and_round_and_clients_are_named():
    present_K = np.isin(np.arange(CLIENTS), [0, BROKEN])
    message = r"round 1, client clinic 2, step 1: the training loss is nan: 1 clients are left"
    with pytest.raises(RoundError, match=message):
        run(present_K, broken=True, federated__min_clients=2)


def test_a_long_change_is_clipped_before_it_is_averaged():
    rows, heads = changes_one_by_one()
    lengths = [
        np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(pair)))
        for pair in zip(rows, heads, strict=True)
    ]
    limit = float(np.median(lengths))
    scales = np.minimum(1.0, limit / np.array(lengths))
    assert (scales < 1).any()

    def clipped(leaves):
        return mean(np.stack([s * leaf for s, leaf in zip(scales, leaves, strict=True)]), SIZES)

    expected = jax.tree.map(lambda *leaves: clipped(leaves), *heads)
    before, after, _ = run(aggregation__clip_norm=limit)
    for then, now, by in zip(
        *map(jax.tree.leaves, (before.head, after.head, expected)), strict=True
    ):
        np.testing.assert_allclose(np.asarray(now) - np.asarray(then), by, atol=2e-6)


def test_the_proximal_term_adds_mu_times_the_way_gone_to_the_gradient():
    """Against FedProx's objective differentiated as a whole, two steps of one client."""
    mu, rate, model = 0.7, 0.1, toy_model(layers=LAYERS)
    shared = units.split(model.init(jax.random.key(0)), "block")
    frozen, rows_L, head = shared
    choice = Choice(jnp.array([1, 3]))
    batches = jax.tree.map(lambda *x: np.stack(x), *[toy_batch(4, seed=s) for s in range(2)])
    common = {"unit": "block", "loss": "cross_entropy", "skip_frozen": True}
    train = jax.jit(
        local.make_local_training(model, optimizer=optax.sgd(rate), proximal=mu, **common)
    )
    found = train(*shared, LocalTask(choice, batches, jnp.int32(2)))
    slope_of = jax.jit(gradient.make_gradient(model, **common))
    start = now = (choice.take(rows_L), head)

    def distance(trained):
        away = jax.tree.map(lambda a, b: jnp.sum(jnp.square(a - b)), trained, start)
        return 0.5 * sum(jax.tree.leaves(away))

    for step in range(2):
        batch = jax.tree.map(lambda leaf, step=step: leaf[step], batches)
        _, slope = slope_of(frozen, rows_L, choice, now, batch)

        pull = jax.grad(distance)(now)
        now = jax.tree.map(lambda w, g, p: w - rate * (g + mu * p), now, slope, pull)
    for leaf, known in zip(
        jax.tree.leaves((found.rows_R, found.head)), jax.tree.leaves(now), strict=True
    ):
        np.testing.assert_allclose(leaf, known, atol=1e-6)


def test_no_more_clients_are_gathered_at_a_time_than_asked_for_and_nothing_recompiles():
    asked, traces = [], []

    def gather(indices):
        asked.append(len(indices))
        return np.float32(indices)

    def double(shared, one):
        traces.append(1)
        return shared * one

    fold = placement.Fold(
        lambda shared: jnp.zeros(()), lambda total, shared, one, result: (total + result, result)
    )
    run = placement.stream(
        double, fold, most=50, placement="pmap", clients_in_memory=3, devices=jax.devices()[:2]
    )
    total, kept_K = run(jnp.float32(2), 50, gather)
    assert max(asked) == 6
    assert float(total) == 2 * sum(range(50))
    np.testing.assert_array_equal(kept_K, 2 * np.arange(50))
    before = len(traces)
    for count in (1, 7, 50):
        assert float(run(jnp.float32(2), count, gather)[0]) == count * (count - 1)
    assert len(traces) == before
    total, kept_K = run(jnp.float32(2), 0, gather)
    assert float(total) == 0
    assert kept_K is None


HOSTILE = 3


def attacked(monkeypatch, mark, **settings):
    """(state before, state after, outcome) of a round in which one client attacks."""
    monkeypatch.setattr(training_stage, "make_client_side", attacks.tampered_client_side)
    marks_K = np.where(np.arange(CLIENTS) == HOSTILE, mark, 0)
    data = attacks.mark_clients(training_stage.clients(), marks_K)
    named = {f"aggregation__{name}": value for name, value in settings.items()}
    stages = training_stage.make_stages(data, federated__placement="map", **named)
    return stages.start, *train_round(stages, stages.start)


@pytest.mark.extended
@pytest.mark.parametrize("rule", ["mean", "median"])
def test_an_outlier_is_dropped_and_the_record_states_its_ratio(monkeypatch, rule):
    present_K = np.arange(CLIENTS) != HOSTILE
    _, after, outcome = attacked(monkeypatch, attacks.HUGE, outliers="drop", rule=rule)
    assert "times the median of the round" in outcome.left_out[HOSTILE]
    assert [k for k, reason in enumerate(outcome.left_out) if reason] == [HOSTILE]
    assert outcome.norms.ratios_K[HOSTILE] > 1e20
    assert outcome.norms.ratios_K[present_K].max() < 5
    data = attacks.mark_clients(training_stage.clients(), np.zeros(CLIENTS))
    stages = training_stage.make_stages(data, aggregation__rule=rule)
    expected, _ = train_round(stages, stages.start, present_K)
    for leaf, known in zip(jax.tree.leaves(after), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, known, atol=1e-6)


@pytest.mark.extended
def test_a_clipped_outlier_moves_the_mean_by_no_more_than_the_limit(monkeypatch):
    settings = {"outliers": "clip", "outlier_ratio": 2.0}
    before, after, outcome = attacked(monkeypatch, attacks.HUGE, **settings)
    assert outcome.left_out == [None] * CLIENTS
    moved = jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), before.head, after.head)
    length = np.sqrt(sum(np.sum(leaf**2) for leaf in jax.tree.leaves(moved)))
    assert 0 < length <= outcome.norms.limit


@pytest.mark.extended
def test_by_default_an_outlier_is_reported_and_counts(monkeypatch):
    _, after, outcome = attacked(monkeypatch, attacks.HUGE)
    assert outcome.norms.outlying_K.tolist() == [k == HOSTILE for k in range(CLIENTS)]
    assert outcome.left_out == [None] * CLIENTS
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(after.head)) > 1e20


def test_no_client_has_more_than_its_share_in_the_mean():
    def capped_mean(values, sizes):
        return np.tensordot(cap_shares(sizes, 0.3), values, axes=1)

    before, after, _ = run(aggregation__max_weight_share=0.3)
    assert_changed_by(before, after, combined(capped_mean), 2e-6)
