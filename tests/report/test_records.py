"""Records hold what the stages of a round returned, client by client."""

import dataclasses
import types

import numpy as np
import pytest

from f3ocus_jax.data.examples import RemoteExamples
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.importance import Importance
from f3ocus_jax.report.records import make_round_record, make_start_record
from f3ocus_jax.selection import Selection
from f3ocus_jax.types import TrainingOutcome, UpdateNorms

CLIENTS = [
    types.SimpleNamespace(name=name, train=RemoteExamples(count, "question answering"))
    for name, count in (("oct", 10), ("ct", 1000))
]
METRICS = [
    ClientMetrics({"accuracy": 0.2, "loss": 1.0}, [], correct="5:gA=="),
    ClientMetrics({"f1_micro": 0.8, "loss": 3.0}, [0.3, 0.7]),
]
IMPORTANCE = Importance(
    scores_L=np.array([[0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]),
    values_L=np.array([[1.0, 2.0, 7.0], [5.0, 3.0, 2.0]]),
    residuals_L=np.array([[1e-5, 1e-2, 1e-5], [1e-5] * 3]),
    converged_L=np.array([[True, False, True], [True] * 3]),
)
SELECTED = Selection(
    mask_KL=np.array([[1, 0, 1], [0, 1, 0]], bool),
    ranks_KL=np.array([[1, 2, 0], [1, 0, 2]]),
    own_mask_KL=np.array([[0, 1, 1], [1, 0, 0]], bool),
    own_objectives_M=np.array([1.6, 0.9]),
    front_mask_PKL=None,
    # Not ascending, and with an unused row: the pick is the second row, the middle of the front.
    front_objectives_PM=np.array([[1.5, 0.8], [1.2, 0.5], [0.0, 0.0], [1.1, 0.3]]),
    front_valid_P=np.array([True, True, False, True]),
    pick=np.int32(1),
    hypervolume=np.float32(0.5),
    complete=np.bool_(True),
    scores_finite=np.bool_(True),
)
TRAINING = TrainingOutcome(
    left_out=[None, None],
    losses_KS=np.array([[4.0, 2.0, 0.0], [1.0, 2.0, 6.0]], np.float32),
    steps_K=np.array([2, 3]),
    straggled_K=np.array([True, False]),
    norms=UpdateNorms(
        np.array([0.5, np.nan]), np.array([1.0, np.nan]), np.zeros(2, bool), np.ones(2, bool), 9.0
    ),
)


def make(left_out=(None, None)):
    return make_round_record(
        3,
        CLIENTS,
        np.array([2, 1]),
        importance=IMPORTANCE,
        selected=SELECTED,
        training=TRAINING,
        metrics=METRICS,
        kept_K=np.array([True, False]),
        left_out=left_out,
        score="lntk",
        algorithm="nsga2",
        seconds={"training": 1.0},
    )


def test_a_client_s_record_is_its_own_scores_layers_steps_and_metrics():
    first, second = make().clients
    assert (first.client, first.train_examples, first.budget) == ("oct", 10, 2)
    assert (first.scores, first.values) == ([0.1, 0.2, 0.7], [1.0, 2.0, 7.0])
    assert (first.residuals, first.unconverged) == ([1e-5, 1e-2, 1e-5], [1])
    assert (first.layers, first.own_layers, first.ranks) == ([0, 2], [1, 2], [1, 2, 0])
    assert (second.layers, second.own_layers, second.unconverged) == ([1], [0], [])
    assert (first.steps, first.straggled, first.train_loss) == (2, True, 3.0)  # of two steps
    assert (second.steps, second.straggled, second.train_loss) == (3, False, 3.0)
    assert (first.update_norm, first.norm_ratio) == (0.5, 1.0)
    assert (second.update_norm, second.norm_ratio) == (None, None)
    assert (second.test, second.thresholds) == (METRICS[1].test, [0.3, 0.7])
    assert (first.kept_scores, second.kept_scores) == (True, False)


def test_the_front_ascends_and_the_pick_is_an_index_into_it():
    record = make()
    assert record.selection.front == [(1.1, 0.3), (1.2, 0.5), (1.5, 0.8)]
    assert record.selection.pick == 1
    assert make_pick(0) == 2
    assert make_pick(3) == 0
    assert record.selection.own_point == (1.6, 0.9)
    assert (record.selection.score, record.selection.algorithm) == ("lntk", "nsga2")


def make_pick(row):
    selected = dataclasses.replace(SELECTED, pick=np.int32(row))
    importance = {"importance": IMPORTANCE, "training": TRAINING, "metrics": METRICS}
    names = {"score": "lntk", "algorithm": "nsga2", "left_out": (None, None), "seconds": {}}
    names["kept_K"] = np.zeros(2, bool)
    record = make_round_record(
        1, CLIENTS, np.array([2, 1]), selected=selected, **importance, **names
    )
    return record.selection.pick


def test_clients_of_any_size_count_once_in_the_round_s_means():
    record = make()
    assert (record.round, record.seconds) == (3, {"training": 1.0})
    assert record.accuracy == pytest.approx(0.5)  # accuracy of one, F1 of the other
    assert record.loss == pytest.approx(2.0)


def test_a_client_that_was_left_out_has_metrics_alone():
    first, second = make((None, "absent")).clients
    assert first.left_out is None
    assert second.left_out == "absent"
    assert (second.scores, second.layers, second.own_layers, second.ranks) == ([], [], [], [])
    assert (second.train_loss, second.steps) == (None, 0)
    assert second.test == METRICS[1].test


def test_the_start_has_nothing_of_a_round():
    record = make_start_record(CLIENTS, np.array([2, 1]), METRICS, {"evaluation": 1.0})
    assert (record.round, record.selection) == (0, None)
    assert record.accuracy == pytest.approx(0.5)
    assert [client.budget for client in record.clients] == [2, 1]
    assert all(client.train_loss is None and not client.layers for client in record.clients)


@pytest.mark.parametrize("left_out", [(None, None), ("absent", None)])
def test_records_keep_which_answers_are_correct(left_out):
    assert [client.correct for client in make(left_out).clients] == ["5:gA==", ""]
