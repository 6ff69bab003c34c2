"""A federation with secure aggregation is the plain one, up to the rounding of its integers."""

import functools
import logging

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import in_process, wire
from f3ocus_jax.deployment.messages import TrainTask
from f3ocus_jax.deployment.parameters import Parameters
from f3ocus_jax.deployment.secure.server import SecureServer
from f3ocus_jax.errors import ProtocolError, RoundError
from tests.helpers.protocol_runs import damaged, opened, over_protocol, read_parts

pytestmark = pytest.mark.extended
SHARED = {
    "limits__minimum_sharers": 2,
    "selection__algorithm": "nsga2",
    "federated__rounds": 1,
    "evaluation__every": 2,
}
SECURE = {**SHARED, "secure_aggregation__enabled": True}
SOME = "oct"
ROUNDING = {"rtol": 0, "atol": 1e-7}
"""Nine sites with 29 bits each have steps of 4e-9; parameters of order 1 in float32 of 6e-8."""


def leaves(state):
    """Arrays of the layers, with leading axis L, and of the head."""
    return jax.device_get((jax.tree.leaves(state.rows_L), jax.tree.leaves(state.head)))


def check_near(found, expected, layers=slice(None), with_head=True, **tolerance):
    (rows, head), (other_rows, other_head) = leaves(found), leaves(expected)
    for one, other in zip(rows, other_rows, strict=True):
        np.testing.assert_allclose(one[layers], other[layers], **{**ROUNDING, **tolerance})
    if not with_head:
        return
    for one, other in zip(head, other_head, strict=True):
        np.testing.assert_allclose(one, other, **{**ROUNDING, **tolerance})


def told(records):
    """What records of both federations have in common: all but the norms of updates."""
    without = {"update_norm": None, "norm_ratio": None, "test": None, "validation": None}
    return [[{**vars(one), **without} for one in record.clients] for record in records]


CASES = {
    "weights by examples": {},
    "weights by steps, with sites that are slow or drop out": {
        "aggregation__weights": "steps",
        "federated__stragglers": 0.5,
        "federated__dropout": 0.2,
    },
    "equal weights and a limit on norms": {
        "aggregation__weights": "equal",
        "aggregation__clip_norm": 0.1,
        "aggregation__optimizer": "fedadam",
    },
}


@pytest.mark.parametrize("case", CASES)
def test_a_round_is_the_plain_one_up_to_rounding(case, data_dir):
    plain = read_parts("tiny_fd", data_dir, **SHARED, **CASES[case])
    secure = read_parts("tiny_fd", data_dir, **SECURE, **CASES[case])
    expected, found = over_protocol(plain), over_protocol(secure)
    tolerance = {"atol": 1e-5} if "equal" in case else {}
    check_near(found[0], expected[0], **tolerance)
    assert told(found[2]) == told(expected[2])
    with pytest.raises(AssertionError):
        check_near(found[0], secure.start, atol=1e-3)
    assert all(one.update_norm is None for one in found[2][-1].clients)


def losing(kind, names):
    """An exchange on which the answers of one kind from some sites are lost."""

    def make_exchange(server, sites):
        deliver = in_process.connect(server, sites)

        def exchange(tasks):
            lost = [each for each in tasks if each in names and is_lost(tasks[each])]
            deliver({each: tasks[each] for each in tasks if each not in lost})

        def is_lost(task):
            return opened(task)[0]["kind"] == kind

        return exchange

    return make_exchange


@pytest.mark.parametrize("kind", ["keys_task", "shares_task", "masked_task", "unmask_task"])
def test_a_site_that_is_lost_in_any_exchange_is_left_out_of_the_sums(kind, data_dir):
    plain = read_parts("tiny_fd", data_dir, **SHARED)
    secure = read_parts("tiny_fd", data_dir, **SECURE)
    lost = "nothing" if kind == "unmask_task" else "train_task"
    expected = over_protocol(plain, losing(lost, [SOME]))
    found = over_protocol(secure, losing(kind, [SOME]))
    others = [one for one in expected[2][-1].clients if one.left_out is None]
    trainers_L = np.bincount([layer for one in others for layer in one.layers], minlength=4)
    few = np.flatnonzero(trainers_L < 2)
    alike = np.flatnonzero(trainers_L >= 2).tolist()
    if kind == "keys_task":  # Before the choice is told: sites that lose a layer train otherwise.
        otherwise = [one.layers for one in others if {*one.layers} & {*few.tolist()}]
        alike = [layer for layer in alike if not any(layer in layers for layers in otherwise)]
    check_near(found[0], expected[0], alike, with_head=kind != "keys_task")
    for one, start in zip(leaves(found[0])[0], leaves(secure.start)[0], strict=True):
        np.testing.assert_array_equal(one[few], start[few])
    record = next(one for one in found[2][-1].clients if one.client == SOME)
    assert record.left_out == (None if kind == "unmask_task" else "dropped out")
    assert alike


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("shares_task", "4 of 9 sites have shared their secrets, 5 are needed"),
        ("masked_task", "4 of 9 sites have sent a masked update, 5 are needed"),
        ("unmask_task", "4 of 9 sites have helped to unmask, 5 are needed"),
    ],
)
def test_too_few_sites_end_the_run_with_their_number(kind, problem, data_dir):
    secure = read_parts("tiny_fd", data_dir, **SECURE)
    names = [client.name for client in secure.federation.clients]
    with pytest.raises(RoundError, match=f"^round 1: {problem}"):
        over_protocol(secure, losing(kind, names[:5]))


def refused(receive, data):
    with pytest.raises(ProtocolError, match=r"\Asite [^\n]+\Z"):
        receive(data)


def with_attacks(server, sites):
    """An exchange in which one site's messages come after wrong ones, and then once more."""
    deliver, earlier = in_process.connect(server, sites), []

    def exchange(tasks):
        deliver({name: task for name, task in tasks.items() if name != SOME})
        if SOME not in tasks:
            return
        task, receive = tasks[SOME], functools.partial(server.take, SOME)
        for what, data in damaged(task):
            if what != "a later round":  # Only the server knows which round it is.
                refused(sites[SOME].answer, data)
        answer = sites[SOME].answer(task)
        refused(sites[SOME].answer, task)
        for data in [*earlier, *(data for _, data in damaged(answer))]:
            refused(receive, data)
        receive(answer)
        refused(receive, answer)
        for old in earlier:
            refused(sites[SOME].answer, old)
        earlier.extend((task, answer))

    return exchange


def test_wrong_and_repeated_messages_are_refused_and_the_sums_stay_right(data_dir):
    plain = read_parts("tiny_fd", data_dir, **SHARED)
    secure = read_parts("tiny_fd", data_dir, **SECURE)
    check_near(over_protocol(secure, with_attacks)[0], over_protocol(plain)[0])


def test_a_site_never_sends_an_update_in_the_open(data_dir):
    parts = read_parts("tiny_fd", data_dir, **SECURE)
    server, sites = in_process.make_server(parts), in_process.make_sites(parts)
    in_process.connect(server, sites)
    rows_R = jax.tree.map(lambda leaf: np.asarray(leaf[:0]), parts.start.rows_L)
    nothing_new = Parameters(np.zeros(0, np.int32), rows_R, {})
    task = wire.encode(TrainTask(1, SOME, 0, nothing_new, np.array([0], np.int32), 1, 1))
    with pytest.raises(ProtocolError, match=r"train_task of round 1: expected is score_task or "):
        sites[SOME].answer(task)


@pytest.mark.parametrize(("single", "lines"), [(True, 1), (False, 0)])
def test_a_server_of_sums_over_one_site_says_what_it_sees(single, lines, data_dir, caplog):
    changed = {"secure_aggregation__single_sharers": single}
    changed["limits__minimum_sharers"] = 1 if single else 2
    parts = read_parts("tiny_fd", data_dir, **{**SECURE, **changed})
    with caplog.at_level(logging.WARNING):
        assert isinstance(in_process.make_server(parts), SecureServer)
    said = [one for one in caplog.messages if "is that site's own update" in one]
    assert len(said) == lines


def test_what_is_clipped_is_counted_in_one_line_for_all_sites(data_dir, caplog):
    parts = read_parts("tiny_fd", data_dir, **SECURE, secure_aggregation__largest=1e-4)
    with caplog.at_level(logging.WARNING):
        found = over_protocol(parts)
    (said,) = [one for one in caplog.messages if "clipped" in one]
    assert int(said.split()[2]) > 1000
    (rows, _), (before, _) = leaves(found[0]), leaves(parts.start)
    for one, start in zip(rows, before, strict=True):
        np.testing.assert_allclose(one, start, rtol=0, atol=1.01e-4)
