"""Glue between the stages of a round, without any model."""

import dataclasses
import types

import jax
import numpy as np
import pytest

from f3ocus_jax import hosts
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data.examples import RemoteExamples
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.federation import assembly, experiment
from f3ocus_jax.federation.server_side import ReceivedUpdate
from f3ocus_jax.federation.settings import ExperimentConfig, FederatedConfig
from f3ocus_jax.federation.stages import (
    client_axis,
    score as score_lib,
    score_changes,
    train as train_lib,
)
from f3ocus_jax.federation.stages.client_axis import repeat_for_clients
from f3ocus_jax.federation.stages.client_work import describe_clients
from f3ocus_jax.federation.stages.evaluate import make_evaluate_stage
from f3ocus_jax.federation.stages.select import make_select_stage
from f3ocus_jax.federation.stages.train import layers_of
from f3ocus_jax.importance import Importance
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.models import units
from f3ocus_jax.types import ClientMemory, ServerState, UpdateNorms

ANSWERS, FINDINGS = "question answering", "classification"
STATE = ServerState(rows_L={}, head={}, round=4, front_mask_PKL="front", optimizer=())


def clients(*sizes, tasks=None):
    tasks = tasks or [ANSWERS] * len(sizes)
    pairs = zip(sizes, tasks, strict=True)
    splits = [RemoteExamples(count, task) for count, task in pairs]
    return [
        types.SimpleNamespace(name=f"h{place}", train=split, task=split.task, is_here=True)
        for place, split in enumerate(splits)
    ]


def test_the_server_chooses_by_shares_and_not_by_raw_values():
    given = []
    side = types.SimpleNamespace(choose=lambda *inputs: given.append(inputs) or "chosen")
    importance = Importance(scores_L="shares", values_L="values")
    scored = types.SimpleNamespace(importance=importance, present_K="present")
    assert make_select_stage(side)(STATE, scored, 5, "key") == "chosen"
    assert given == [("shares", "present", "front", "key")]


def test_layers_of_a_mask_are_all_of_them_in_order():
    mask_KL = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [0, 1, 0, 0]], bool)
    assert layers_of(mask_KL, 3).tolist() == [[0, 2, 3], [4, 4, 4], [1, 4, 4]]


def test_clients_without_scores_have_equal_shares():
    scores_L, values_L = np.array([[0.1, 0.9]], np.float32), np.array([[1.0, 9.0]], np.float32)
    found = score_lib._extend_to_all(Importance(scores_L, values_L), np.array([1]), 3)
    np.testing.assert_allclose(found.scores_L, [[0.5, 0.5], [0.1, 0.9], [0.5, 0.5]])
    np.testing.assert_allclose(found.values_L, [[0, 0], [1, 9], [0, 0]])


def test_a_score_that_is_not_finite_names_its_layer():
    values_KL = np.array([[1.0, 2.0], [0.0, 0.0], [3.0, np.inf], [np.nan, 0.0]])
    found = score_lib._failures(np.array([2, 3]), Importance(None, values_KL), "lntk")
    assert found == [
        None,
        None,
        "layer 1: the score lntk is inf",
        "layer 0: the score lntk is nan",
    ]
    assert score_lib._first_reasons(["absent", None, None, None], found)[0] == "absent"


def test_shuffled_scores_are_the_same_values_at_other_layers_for_all_clients():
    values_KL = np.arange(24.0).reshape(2, 12)
    scored = Importance(values_KL / 100, values_KL)
    found = [score_changes.shuffle_layers(scored, seed) for seed in (0, 0, 1)]
    order_L = found[0].values_L[0].astype(int)
    assert sorted(order_L) == list(range(12))
    assert order_L.tolist() != list(range(12))
    for one in found[:2]:
        np.testing.assert_array_equal(one.values_L, values_KL[:, order_L])
        np.testing.assert_array_equal(one.scores_L, values_KL[:, order_L] / 100)
    assert found[2].values_L.tolist() != found[0].values_L.tolist()


def test_clients_are_put_back_where_they_were_taken():
    all_K = {"a": np.arange(5.0)}
    some = client_axis.take_clients(all_K, np.array([3, 1]))
    assert some["a"].tolist() == [3, 1]
    changed = client_axis.put_clients(all_K, np.array([3, 1]), {"a": np.array([30.0, 10.0])})
    assert changed["a"].tolist() == [0, 10, 2, 30, 4]
    assert all_K["a"].tolist() == [0, 1, 2, 3, 4]


def test_a_client_weighs_as_many_examples_as_it_has_and_trains_the_head_of_its_task():
    settings = TrainingConfig(batch_size=4, max_local_steps=2)
    facts = describe_clients(clients(100, 3, tasks=[ANSWERS, FINDINGS]), settings, seed=0)
    assert facts.weights_K.tolist() == [100, 3]
    assert facts.planned_K.tolist() == [2, 1]
    heads = dict.fromkeys(["answers", "findings"])
    trained = facts.trained(1, np.array([1, 0]), np.array([[0, 2], [1, 3]]), heads)
    assert trained.layers_R.tolist() == [[1, 3], [0, 2]]
    assert trained.heads["answers"].tolist() == [False, True]
    assert trained.heads["findings"].tolist() == [True, False]


def test_the_outcome_says_who_was_left_out_and_why():
    facts = describe_clients(clients(8, 8, 8, 8, 8), TrainingConfig(batch_size=4), seed=0)
    losses_KS = np.array([[1, 2], [3, np.nan], [5, 6], [7, 8]], np.float32)
    flags = np.array([False, False, True, True])
    accepted = np.array([True, False, False, True])  # of two outliers one is only reported
    norms = UpdateNorms(np.ones(4), np.array([1, 1, 9, 7.0]), flags, accepted, 5.0)
    received = ReceivedUpdate(
        losses_KS, np.array([True, False, True, True]), np.ones(4), None, None
    )
    dropped_K = np.array([False, True, False, False, False])
    steps_K = np.array([2, 2, 2, 1, 2], np.int32)
    found = facts.outcome(np.array([0, 2, 3, 4]), dropped_K, steps_K, received, norms)
    assert found.left_out == [
        None,
        "dropped out",
        "step 2: the training loss is nan",
        "the norm of its update is 9 times the median of the round",
        None,
    ]
    assert found.steps_K.tolist() == [2, 0, 2, 1, 2]
    assert found.straggled_K.tolist() == [False, False, False, True, False]
    np.testing.assert_array_equal(found.losses_KS[[0, 1, 3]], [[1, 2], [0, 0], [5, 6]])


def evaluated(losses, monkeypatch):
    """Metrics of the stage for a federation whose clients have these test losses."""
    monkeypatch.setattr(units, "join", lambda *parts: parts)
    measured = [ClientMetrics({} if loss is None else {"loss": loss}, []) for loss in losses]
    monkeypatch.setattr(client_metrics, "evaluate_clients", lambda *_, **__: measured)
    stage = make_evaluate_stage("predict", "frozen", clients(*[1] * len(losses)), unit="adapter")
    return [metrics.test.get("loss") for metrics in stage(STATE)]


@pytest.mark.parametrize("keeps", [True, False])
def test_which_answers_are_correct_stays_on_hosts_with_data_of_their_own(keeps, monkeypatch):
    monkeypatch.setattr(units, "join", lambda *parts: parts)
    measured = [ClientMetrics({"loss": 1.0}, [], correct="5:gA==")]
    monkeypatch.setattr(client_metrics, "evaluate_clients", lambda *_, **__: measured)
    told = []
    monkeypatch.setattr(hosts, "all_gather", lambda value: told.append(value) or [value])
    stage = make_evaluate_stage("predict", "frozen", clients(1), unit="lora", keeps_answers=keeps)
    expected = "5:gA==" if keeps else ""
    assert [metrics.correct for metrics in stage(STATE)] == [expected]
    assert [one["correct"] for one in told[0].values()] == [expected]


def test_metrics_are_in_the_order_of_the_clients(monkeypatch):
    assert evaluated([3.0, None, 1.0], monkeypatch) == [3.0, None, 1.0]


@pytest.mark.parametrize(
    ("losses", "message"),
    [([1.0, np.nan], "round 4, client h1, the test loss is not finite"), ([None], "no client has")],
)
def test_a_model_that_cannot_be_measured_ends_the_round(losses, message, monkeypatch):
    with pytest.raises(RoundError, match=message):
        evaluated(losses, monkeypatch)


def test_every_round_and_every_seed_has_a_key_of_its_own(monkeypatch):
    keys = []

    def run_round(stages, state, memory, number, key, *, evaluates):
        assert evaluates
        keys.append(str(key))
        scored = types.SimpleNamespace(importance=None, kept_K=None)
        outcome = types.SimpleNamespace(
            scored=scored, chosen=None, training=None, metrics=None, left_out=None
        )
        return STATE, memory, outcome

    monkeypatch.setattr(experiment, "run_round", run_round)
    monkeypatch.setattr(experiment, "observe", lambda *_: (None, {}))
    monkeypatch.setattr(experiment, "make_round_record", lambda number, *_, **__: number)
    for seed, finished in ((0, 1), (0, 2), (1, 1), (0, 1)):
        config = types.SimpleNamespace(
            seed=seed,
            evaluation=EvaluationConfig(),
            federated=FederatedConfig(),
            importance=types.SimpleNamespace(score=""),
            selection=types.SimpleNamespace(algorithm=""),
        )
        parts = types.SimpleNamespace(
            config=config,
            federation=types.SimpleNamespace(clients=[]),
            budgets=types.SimpleNamespace(budgets_K=None),
            privacy=None,
            last_round=30,
            stages=None,
        )
        *_, number = experiment.next_round(parts, STATE.replace(round=finished), None)
        assert number == finished + 1
    assert len(set(keys)) == 3
    assert keys[0] == keys[3]


@pytest.mark.parametrize(("vectors", "number"), [(None, 7), (np.ones((2, 3, 1, 1)), 0)])
def test_eigenvectors_meet_the_examples_that_they_are_of(vectors, number, monkeypatch):
    """A warm start keeps the probe; otherwise every round draws its own."""
    drawn = []
    monkeypatch.setattr(score_lib, "_probe", lambda client, settings, seed, n: drawn.append(n))
    monkeypatch.setattr(score_lib, "stack_batches", lambda batches: None)
    importance = {"scores_L": np.full((2, 3), 1 / 3), "values_L": np.ones((2, 3))}
    empty = ("residuals_L", "iterations_L", "converged_L", "vectors_LNC")
    made = {"importance": importance | dict.fromkeys(empty)}
    made["memory"] = {"vectors_LNC": None if vectors is None else 2 * vectors}

    def stream(*_, **__):
        return lambda shared, count, gather: (gather(np.arange(count)), made)

    monkeypatch.setattr(score_lib.placement, "stream", stream)
    participation = types.SimpleNamespace(
        most=2, present=lambda n: np.ones(2, bool), reasons=lambda n: [None, None]
    )
    stage = score_lib.make_score_stage(
        None,
        None,
        clients(8, 8),
        participation,
        importance=ImportanceConfig(),
        federated=FederatedConfig(),
        seed=1,
    )
    _, memory = stage(STATE, ClientMemory(vectors_LNC=vectors), 7, jax.random.key(0))
    assert drawn == [number, number]
    if vectors is not None:
        np.testing.assert_array_equal(memory.vectors_LNC, 2 * vectors)


def test_relative_scores_say_what_a_client_needs_more_than_the_others():
    scores_KL = np.array([[0.6, 0.3, 0.1, 0], [0.6, 0.1, 0.3, 0], [0.25] * 4], np.float32)
    present_K = np.array([True, True, False])
    scored = Importance(scores_KL, 100 * scores_KL)
    found = score_changes.divide_by_mean(scored, present_K)
    expected = np.array([[1, 1.5, 0.5, 1], [1, 0.5, 1.5, 1]]) / 4
    np.testing.assert_allclose(found.scores_L[:2], expected, rtol=1e-6)
    np.testing.assert_array_equal(found.scores_L[2], scores_KL[2])
    np.testing.assert_array_equal(found.values_L, scored.values_L)


@pytest.mark.parametrize("changed", ["shuffled", "relative"])
def test_the_score_stage_changes_scores_as_the_settings_say(changed):
    scored = Importance(np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]], np.float32), np.zeros((2, 3)))
    present_K = np.ones(2, bool)
    plain = score_changes.change(scored, present_K, ImportanceConfig(), seed=0)
    np.testing.assert_array_equal(plain.scores_L, scored.scores_L)
    other = score_changes.change(scored, present_K, ImportanceConfig(**{changed: True}), seed=0)
    assert not np.array_equal(other.scores_L, scored.scores_L)
    np.testing.assert_allclose(other.scores_L.sum(axis=1), 1, rtol=1e-6)


def test_personal_layers_start_as_copies_of_the_shared_ones():
    rows_L = {"w": np.arange(6.0).reshape(3, 2)}
    copies_KL = repeat_for_clients(rows_L, 4)["w"]
    np.testing.assert_array_equal(copies_KL, [rows_L["w"]] * 4)


def test_the_stages_are_made_with_the_settings_of_the_run(monkeypatch):
    given = {}
    for name in (
        *("make_client_side", "make_server_side", "make_predict", "make_aggregate_stage"),
        *("make_score_stage", "make_select_stage", "make_train_stage", "make_evaluate_stage"),
    ):
        note = lambda *_, name=name, **named: given.update({name: named})  # noqa: E731
        monkeypatch.setattr(assembly, name, note)
    config = ExperimentConfig()
    model = dataclasses.replace(config.model, loss="binary_cross_entropy")
    config = dataclasses.replace(config, model=model, seed=9)
    budgets = types.SimpleNamespace(participation="participation", slots=3)
    assembly.make_stages(config, "model", {}, [], budgets)
    assert given["make_client_side"]["loss"] == "binary_cross_entropy"
    assert given["make_client_side"]["importance"] is config.importance
    assert given["make_client_side"]["training"] is config.training
    assert given["make_server_side"]["aggregation"] is config.aggregation
    assert given["make_server_side"]["selection"] is config.selection
    assert given["make_train_stage"]["slots"] == 3
    for name in ("make_score_stage", "make_train_stage"):
        assert (given[name]["seed"], given[name]["federated"]) == (9, config.federated)
    assert given["make_evaluate_stage"]["unit"] == config.training.unit


def test_personal_layers_go_back_to_the_clients_that_trained_them(monkeypatch):
    received = {"losses_S": np.ones((2, 1)), "finite": np.ones(2, bool), "norm": np.ones(2)}
    received |= {"change": None, "weight": None}
    trained = {"received": received, "memory": {"personal_L": {"w": np.array([[10.0], [30.0]])}}}

    def stream(*_, **__):
        return lambda shared, count, gather: ("total", trained)

    monkeypatch.setattr(train_lib.placement, "stream", stream)
    flags = np.zeros(2, bool)
    side = types.SimpleNamespace(
        start=None,
        receive=None,
        weigh=lambda *_: None,
        judge=lambda _: UpdateNorms(np.ones(2), np.ones(2), flags, ~flags, 5.0),
    )
    participation = types.SimpleNamespace(
        most=3, dropped=lambda n: np.zeros(3, bool), steps=lambda n, planned_K: planned_K
    )
    stage = train_lib.make_train_stage(
        None,
        side,
        None,
        clients(8, 8, 8),
        participation,
        training=TrainingConfig(),
        federated=FederatedConfig(),
        slots=1,
        seed=0,
    )
    memory = ClientMemory(personal_L={"w": np.array([[0.0], [1.0], [2.0]])})
    present_K, mask_KL = np.array([True, False, True]), np.ones((3, 1), bool)
    updates, memory = stage(STATE, memory, 1, mask_KL, present_K)
    assert memory.personal_L["w"].tolist() == [[10.0], [1.0], [30.0]]
    assert updates.total == "total"
    assert updates.outcome.steps_K.tolist() == [1, 0, 1]
