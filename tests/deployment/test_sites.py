"""Sites that fail, do not answer, start again or keep something of their own."""

import dataclasses

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import in_process, protocol, wire
from f3ocus_jax.errors import ProtocolError
from tests.helpers.protocol_runs import (
    check_same,
    opened,
    over_protocol,
    read_parts,
    simulated,
    with_train_images,
)

pytestmark = pytest.mark.extended
SOME = "oct"
CASES = {
    "own heads and moments": {
        "training__head": "personal",
        "training__optimizer_state": "kept",
        "federated__absent": {SOME: (1,)},
    },
    "scores and metrics of every second round": {
        "importance__every": 2,
        "evaluation__every": 2,
        "federated__absent": {SOME: (1,)},
        "federated__rounds": 4,
    },
    "weights by steps": {
        "aggregation__weights": "steps",
        "aggregation__max_weight_share": 0.2,
        "federated__stragglers": 0.5,
        "federated__dropout": 0.3,
    },
    "median of some": {"aggregation__rule": "median", "federated__participants": 5},
    "answers that are correct stay at the site": {"distributed__own_data": True},
}


@pytest.mark.parametrize("case", CASES)
def test_settings_that_concern_sites_give_the_simulator_s_run_bit_for_bit(case, data_dir):
    parts = read_parts("tiny_fd", data_dir, **CASES[case])
    check_same(over_protocol(parts), simulated(parts))


@pytest.mark.parametrize("score", ["fd", "snip"])
def test_a_site_whose_result_is_not_finite_is_left_out_with_the_simulator_s_reason(score, data_dir):
    def with_a_hole(index, images):
        images = images.astype(np.float32)
        return np.full_like(images, np.nan) if index == 2 else images

    parts = with_train_images(read_parts(f"tiny_{score}", data_dir), with_a_hole)
    found = over_protocol(parts)
    check_same(found, simulated(parts))
    reason = found[2][1].clients[2].left_out
    stage = "step 1: the training loss" if score == "fd" else "layer 0: the score snip"
    assert reason == f"{stage} is nan"


def losing(kind, name):
    """An exchange on which the answers of one kind from one site are lost in round 1."""

    def make_exchange(server, sites):
        deliver = in_process.connect(server, sites)

        def exchange(tasks):
            lost = [each for each in tasks if each == name and is_lost(tasks[each])]
            deliver({each: tasks[each] for each in tasks if each not in lost})
            for each in lost:
                sites[each].answer(tasks[each])
            assert server.missing == lost

        def is_lost(task):
            header = opened(task)[0]
            return (header["kind"], header["round"]) == (kind, 1)

        return exchange

    return make_exchange


@pytest.mark.parametrize("kind", ["score_task", "train_task", "evaluate_task"])
def test_a_site_whose_answer_is_lost_dropped_out_and_goes_on_in_the_next_round(kind, data_dir):
    parts = read_parts("tiny_fd", data_dir)
    _, _, records = over_protocol(parts, losing(kind, SOME))
    first, second = (
        next(one for one in record.clients if one.client == SOME) for record in records[1:]
    )
    assert first.left_out == (None if kind == "evaluate_task" else "dropped out")
    assert bool(first.test) == (kind != "evaluate_task")
    assert second.left_out is None
    others = [one for one in records[1].clients if one.client != SOME]
    assert all(one.left_out is None and one.train_loss > 0 for one in others)


def test_a_site_that_starts_again_is_admitted_again_and_is_sent_the_whole_model(data_dir):
    parts = read_parts("tiny_fd", data_dir)
    server, sites = in_process.make_server(parts), in_process.make_sites(parts)
    exchange, sent = in_process.connect(server, sites), []

    def noted(tasks):
        sent.append({name: opened(task)[0]["fields"] for name, task in tasks.items()})
        exchange(tasks)

    stages = protocol.without_data(parts, server, noted).stages
    stages.evaluate(parts.start)
    fresh = in_process.make_sites(parts)[SOME]
    key = jax.random.key(0)
    sites[SOME] = fresh
    tasks = server.ask_scores(parts.start, 1, key)
    with pytest.raises(ProtocolError, match=rf"^site {SOME}, score_task .* here is none yet"):
        fresh.answer(tasks[SOME])
    server.admit(SOME, wire.encode(fresh.ready()))
    tasks[SOME] = server.ask_again(SOME)
    sent.append({SOME: opened(tasks[SOME])[0]["fields"]})
    for name in tasks:
        server.take(name, sites[name].answer(tasks[name]))
    assert server.ask_again(SOME) is None
    server.scores()
    stages.evaluate(dataclasses.replace(parts.start, round=np.int32(1)))
    layers = parts.foundation.model.num_layers
    assert {fields["layers"] for fields in sent[0].values()} == {layers}
    assert [fields["layers"] for fields in sent[1].values()] == [layers]
    assert {fields["layers"] for fields in sent[2].values()} == {0}


def test_a_site_of_other_settings_or_examples_is_not_admitted(data_dir):
    parts = read_parts("tiny_fd", data_dir)
    server, site = in_process.make_server(parts), in_process.make_sites(parts)[SOME]
    with pytest.raises(ProtocolError, match="ready: it has not come yet"):
        _ = server.clients
    other = read_parts("tiny_fd", data_dir, training__learning_rate=0.5)
    differs = rf"^site {SOME}, ready: not .* server's: config\.training\.learning_rate$"
    with pytest.raises(ProtocolError, match=differs):
        server.admit(SOME, wire.encode(in_process.make_sites(other)[SOME].ready()))
    server.admit(SOME, wire.encode(site.ready()))
    client = next(each for each in parts.federation.clients if each.name == SOME)
    smaller = dataclasses.replace(client, test=None)
    federation = dataclasses.replace(parts.federation, clients=[smaller])
    changed = in_process.make_sites(dataclasses.replace(parts, federation=federation))
    with pytest.raises(ProtocolError, match="other examples than when it first joined"):
        server.admit(SOME, wire.encode(changed[SOME].ready()))


def test_what_is_a_site_s_own_is_in_no_message(data_dir):
    """Every layer of its memory, and its examples, are sought in all bytes."""
    parts = read_parts("tiny_feddat", data_dir)
    passed = []

    def make_exchange(server, sites):
        in_process.connect(server, sites)

        def exchange(tasks):
            for name, task in tasks.items():
                answer = sites[name].answer(task)
                passed.extend((task, answer))
                server.take(name, answer)

        return exchange

    _, memory, _ = over_protocol(parts, make_exchange)
    everything = b"".join(passed)
    shared = jax.tree.leaves(parts.start.rows_L)
    assert all(np.asarray(leaf_L)[0].tobytes() in everything for leaf_L in shared)
    pairs = zip(*(jax.tree.leaves(each.personal_L) for each in (memory, parts.memory)), strict=True)
    trained = [
        row
        for after_KL, before_KL in pairs
        for row, old in zip(after_KL[0], before_KL[0], strict=True)
        if (row != old).any()
    ]
    assert len(trained) == sum(map(len, shared))
    assert not any(row.tobytes() in everything for row in trained)
    train = parts.federation.clients[0].train
    images = np.asarray(train.images_NHWC[np.arange(len(train))])
    assert not any(image.tobytes() in everything for image in images)
    assert not any(question.encode() in everything for question in train.questions)
