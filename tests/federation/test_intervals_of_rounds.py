"""Rounds that are not evaluated, and rounds in which clients keep their last scores."""

import types

import jax
import numpy as np
import pytest

from f3ocus_jax.data.examples import RemoteExamples
from f3ocus_jax.evaluation import round_choice
from f3ocus_jax.evaluation.settings import EvaluationConfig
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.checkpoint import Checkpoints
from f3ocus_jax.federation.settings import CheckpointConfig, FederatedConfig
from f3ocus_jax.federation.stages import score as score_lib
from f3ocus_jax.importance import Importance
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.types import ClientMemory, ServerState
from tests.helpers.configs import read_config

STATE = ServerState(rows_L={}, head={}, round=4, front_mask_PKL="front")
ABSENT, BROKEN = {2: 1, 3: 0}, (4, 0)
"""Round in which a client is absent; round and client whose score is not finite."""


def reasons(number):
    return ["absent" if ABSENT.get(number) == client else None for client in range(2)]


CLIENTS = [
    types.SimpleNamespace(index=k, name=f"h{k}", train=RemoteExamples(8, ""), is_here=True)
    for k in range(2)
]
PARTICIPATION = types.SimpleNamespace(
    most=2,
    present=lambda number: np.array([reason is None for reason in reasons(number)]),
    reasons=reasons,
)


def scores_of(probes):
    """Results of clients whose values say who scored, and when; None of no client."""
    if not probes:
        return None
    values = [[10.0 * n + client.index, 1.0] for client, n in probes]
    for row, (client, n) in zip(values, probes, strict=True):
        row[0] = np.nan if (n, client.index) == BROKEN else row[0]
    values_KL = np.array(values)
    made = dict.fromkeys(("residuals_L", "iterations_L", "converged_L", "vectors_LNC"))
    made |= {"values_L": values_KL, "scores_L": values_KL / values_KL.sum(axis=1, keepdims=True)}
    return {"importance": made, "memory": {"vectors_LNC": None}}


def memory_before(every):
    if every == 1:
        return ClientMemory()
    empty = Importance.empty((2, 2), eigenvalues=False)
    return ClientMemory(importance_L=empty, scored_in=np.zeros(2, np.int32))


@pytest.fixture
def run_stage(monkeypatch):
    """Returns a function that scores two clients in rounds 1 to 6: [(who scored, result)]."""
    asked = []

    def stream(*_, **__):
        def run(shared, count, gather):
            _, probes, _ = gather(np.arange(count))
            asked.append([client.index for client, _ in probes])
            return None, scores_of(probes)

        return run

    def run(every):
        asked.clear()
        stage = score_lib.make_score_stage(
            *(None, None, CLIENTS, PARTICIPATION),
            importance=ImportanceConfig(score="snip", every=every),
            federated=FederatedConfig(min_clients=1),
            seed=1,
        )
        memory, found = memory_before(every), []
        for number in range(1, 7):
            scored, memory = stage(STATE, memory, number, jax.random.key(0))
            found.append(scored)
        return list(zip(asked, found, strict=True))

    monkeypatch.setattr(score_lib, "_probe", lambda client, settings, seed, n: (client, n))
    monkeypatch.setattr(score_lib, "stack_batches", lambda batches: batches)
    monkeypatch.setattr(score_lib.placement, "stream", stream)
    return run


def test_clients_keep_their_scores_until_the_next_is_due(run_stage):
    found = run_stage(3)
    # Client 1 is absent from round 2, client 0 from round 3, when its next score is not due yet.
    assert [who for who, _ in found] == [[0, 1], [], [], [0, 1], [0], []]
    values = [scored.importance.values_L[:, 0].tolist() for _, scored in found]
    assert values[0] == [10, 11]
    assert values[1] == [10, 0], "an absent client has no score, although it keeps one"
    assert values[2] == [0, 11]
    assert values[4] == [50, 41], "a score that is not finite is not kept: it is due again"
    assert values[5] == [50, 41]
    kept = [scored.kept_K.tolist() for _, scored in found]
    assert kept == [
        [False] * 2,
        [True, False],
        [False, True],
        [False] * 2,
        [False, True],
        [True] * 2,
    ]
    assert found[3][1].left_out == ["layer 0: the score snip is nan", None]


def test_a_client_that_missed_its_round_scores_in_the_next(run_stage):
    found = run_stage(2)
    # Client 0 is due in round 3, absent, and scores in round 4, which fails, so in round 5 again.
    assert [who for who, _ in found] == [[0, 1], [], [1], [0], [0, 1], []]


def test_without_an_interval_every_client_scores_in_every_round(run_stage):
    found = run_stage(1)
    assert [who for who, _ in found] == [[0, 1], [0], [1], [0, 1], [0, 1], [0, 1]]
    assert not any(scored.kept_K.any() for _, scored in found)


def test_the_first_and_the_last_model_are_always_evaluated():
    due = [number for number in range(8) if EvaluationConfig(every=3).is_due(number, 7)]
    assert due == [0, 3, 6, 7]
    assert all(EvaluationConfig().is_due(number, 7) for number in range(8))


def test_the_start_and_the_last_round_are_always_saved():
    due = [number for number in range(8) if CheckpointConfig(every=3).is_due(number, 7)]
    assert due == [0, 3, 6, 7]
    assert all(CheckpointConfig().is_due(number, 7) for number in range(8))


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_with_intervals_resumes_bit_for_bit(data_dir, tmp_path):
    config = read_config(
        "tiny",
        data_dir,
        federated__rounds=5,
        federated__absent={"oct": (1,)},
        evaluation__every=2,
        importance__every=3,
    )
    parts = experiment.assemble(config)
    state, memory, records = parts.start, parts.memory, [experiment.evaluate_start(parts)]
    with Checkpoints(tmp_path, config.checkpoint, parts.settings) as checkpoints:
        for number in range(1, 6):
            state, memory, record = experiment.next_round(parts, state, memory)
            records.append(record)
            if number == 2:
                checkpoints.save(state, memory, records)
                checkpoints.wait()
                resumed = checkpoints.restore(parts.start, parts.memory)
    other, other_memory, found = resumed
    for _ in range(3):
        other, other_memory, record = experiment.next_round(parts, other, other_memory)
        found.append(record)
    for leaf, same in zip(
        *map(jax.tree.leaves, ((state, memory), (other, other_memory))), strict=True
    ):
        np.testing.assert_array_equal(leaf, same)
    evaluated = round_choice.evaluated(records)
    assert [record.round for record in evaluated] == [0, 2, 4, 5]
    assert not any(client.test for record in (records[1], records[3]) for client in record.clients)
    kept = {
        c.client: [r.clients[k].kept_scores for r in records] for k, c in enumerate(record.clients)
    }
    assert kept.pop("oct") == [False, False, False, True, True, False]
    assert set(map(tuple, kept.values())) == {(False, False, True, True, False, True)}
    assert records[3].clients[0].values == records[1].clients[0].values
    assert records[4].clients[0].values != records[1].clients[0].values
