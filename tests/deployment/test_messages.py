"""Messages are the same after their bytes, and everything else is refused before it is used."""

import json
import math
import struct

import jax
import numpy as np
import pytest

from f3ocus_jax.deployment import wire
from f3ocus_jax.deployment.joining_messages import Invite, Join, Ready, Refusal, Setup
from f3ocus_jax.deployment.layout import make_layout
from f3ocus_jax.deployment.messages import (
    NOTHING,
    EvaluateTask,
    Failure,
    Metrics,
    Scores,
    ScoreTask,
    TrainTask,
    Update,
)
from f3ocus_jax.deployment.model_log import ModelLog
from f3ocus_jax.deployment.parameters import Parameters
from f3ocus_jax.deployment.secure import messages as secure_messages
from f3ocus_jax.errors import ProtocolError
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.importance import Importance
from f3ocus_jax.types import ServerState
from tests.helpers.configs import read_config
from tests.helpers.protocol_runs import closed, damaged, opened

LAYERS, SITE = 4, "Klinik 東 \u0663"
DRAW = np.random.default_rng(7)


def floats(*shape):
    return DRAW.normal(size=shape).astype(np.float32)


ROWS_L = {"down": {"kernel": floats(LAYERS, 3, 2), "bias": floats(LAYERS, 2)}}
HEAD = {"answers": {"kernel": floats(3, 5)}, "findings": {"scale": np.array(1.5, np.float32)}}
LAYOUT = make_layout(read_config("tiny"), ROWS_L, HEAD)


def parameters(*layers, head=("answers",)):
    layers_R = np.array(layers, np.int32)
    rows_R = jax.tree.map(lambda leaf: leaf[layers_R], ROWS_L)
    return Parameters(layers_R, rows_R, {name: HEAD[name] for name in head})


def importance():
    scores_L, iterations_L = np.full(LAYERS, 0.25, np.float32), np.arange(LAYERS, dtype=np.int32)
    residuals_L = np.array([0, 1e-4, np.inf, np.nan], np.float32)
    return Importance(scores_L, floats(LAYERS), residuals_L, iterations_L, residuals_L < 1)


FACTS = {"config.seed": "0f" * 32, "tokenizer": "a1" * 32}
METRICS = ClientMetrics(
    {"accuracy": 1 / 3, "examples": 8, "loss": math.nan, "organ «x»": 0.1}, [0.5], {}, "5:gA=="
)
MESSAGES = {
    message.kind: message
    for message in (
        Invite(0, SITE, "5a" * 16, ("answers", "findings")),
        Join(0, SITE, ("sha256:00",), (), "question answering", 29, 8, None, FACTS, "5a", NOTHING),
        Setup(2, SITE, ("no", "yes «x»"), ("edema",), "5a", ("answers",)),
        Ready(2, SITE, "question answering", 29, 8, None, FACTS),
        Refusal(2, SITE, "the disk is full"),
        ScoreTask(3, SITE, 1, parameters(0, 2), np.array([1, 2**32 - 1], np.uint32)),
        Scores(3, SITE, importance(), kept=True),
        TrainTask(3, SITE, 1, parameters(head=()), np.array([1, 3], np.int32), slots=3, steps=2),
        Update(3, SITE, parameters(1, 3), floats(2), examples=29),
        EvaluateTask(3, SITE, NOTHING, parameters(*range(LAYERS), head=tuple(HEAD))),
        Metrics(3, SITE, METRICS),
        Failure(3, SITE, "train_task", "step 2: the training loss is nan"),
    )
}
every_kind = pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)


def decode(data, message, **expected):
    known = {"kinds": (type(message),), "site": SITE, "round": message.round}
    return wire.decode(data, LAYOUT, wire.Expected(**{**known, **expected}))


def test_there_is_a_message_of_every_kind():
    assert MESSAGES.keys() == wire.KINDS.keys() - {kind.kind for kind in secure_messages.ALL}


@every_kind
def test_a_message_is_the_same_after_its_bytes(message):
    data = wire.encode(message)
    found = decode(data, message)
    assert type(found) is type(message)
    assert (found.round, found.site, found.fields()) == (
        message.round,
        message.site,
        message.fields(),
    )
    arrays, others = found.tensors(), message.tensors()
    assert arrays.keys() == others.keys()
    for name, array in arrays.items():
        assert (array.shape, array.dtype) == (others[name].shape, others[name].dtype)
        assert array.tobytes() == others[name].tobytes()
    assert wire.encode(found) == data
    assert message.num_bytes < len(data) <= wire.most_bytes(type(message), LAYOUT)


def test_metrics_keep_every_bit_and_a_loss_that_is_not_finite_stays_one():
    found = decode(wire.encode(MESSAGES["metrics"]), MESSAGES["metrics"]).metrics
    assert math.isnan(found.test["loss"])
    assert found.test["accuracy"] == 1 / 3
    assert type(found.test["examples"]) is int
    assert (found.thresholds, found.correct) == (METRICS.thresholds, METRICS.correct)


def test_the_size_of_a_message_is_that_of_the_layers_that_it_holds():
    row, head = 4 * (3 * 2 + 2), 4 * 3 * 5
    sizes = {kind: message.num_bytes for kind, message in MESSAGES.items()}
    assert sizes == {
        "invite": 0,
        "join": len('["sha256:00"][]'),
        "setup": len(json.dumps(["no", "yes «x»"]) + '["edema"]'),
        "ready": 0,
        "refusal": 0,
        "score_task": 8 + 2 * (4 + row) + head,
        "scores": 17 * LAYERS,
        "train_task": 2 * 4,
        "update": 2 * (4 + row) + head + 2 * 4,
        "evaluate_task": LAYERS * (4 + row) + head + 4,
        "metrics": 0,
        "failure": 0,
    }


@every_kind
def test_a_message_with_anything_else_in_it_is_refused(message):
    for what, data in damaged(wire.encode(message)):
        with pytest.raises(ProtocolError, match=f"^site {SITE}, ") as error:
            decode(data, message)
        assert "\n" not in str(error.value), what


def changed(message, field=None, value=None, **header_or_arrays):
    header, arrays = opened(wire.encode(message))
    if field:
        header["fields"][field] = value
    for name, each in header_or_arrays.items():
        if name in header:
            header[name] = each
        else:
            arrays[name.replace("__", "/")] = each
    return closed(header, arrays)


update, scores = MESSAGES["update"], MESSAGES["scores"]


@pytest.mark.parametrize(
    ("message", "data", "problem"),
    [
        (update, changed(update, round=2), "update of round 2: expected is round 3"),
        (update, changed(update, site="b\x1b"), r"it is of site 'b\\x1b'"),
        (update, changed(update, version=9), "version 9 of the protocol, must be 2"),
        (update, changed(update, kind="scores"), "scores of round 3: expected is update"),
        (update, changed(update, round=-1), "round = -1, must be a whole number >= 0"),
        (update, changed(update, round=True), "round = True, must be a whole number"),
        (update, changed(update, site=None), "site = None, must be a text"),
        (update, changed(update, fields=[]), r"its fields are \[\], must be an object"),
        (update, changed(update, "steps", 1), r"losses has shape \(2,\), must be \(1,\)"),
        (update, changed(update, "steps", 10**6), "steps = 1000000, must be at most 2"),
        (update, changed(update, "layers", 10**6), "layers = 1000000, must be at most 4"),
        (update, changed(update, "heads", ["legs"]), "unknown entry of the head: 'legs'"),
        (update, changed(update, "heads", [["x"]]), "heads = .*, must be a list of names"),
        (update, changed(update, layers=np.array([3, 1], np.int32)), "do not ascend"),
        (update, changed(update, layers=np.array([1, 1], np.int32)), "do not ascend"),
        (update, changed(update, layers=np.array([1, 4], np.int32)), "within 0 and 3"),
        (update, changed(update, losses=np.full(2, np.inf, np.float32)), "NaN or infinity"),
        (update, changed(update, x=floats(1)), "unknown arrays: 'x'"),
        (update, changed(update, rows__down__bias=floats(2, 3)), r"must be \(2, 2\)"),
        (scores, changed(scores, scores=np.full(4, 0.3, np.float32)), "sum to 1"),
        (scores, changed(scores, scores=np.array([2, -1, 0, 0], np.float32)), ">= 0"),
        (scores, changed(scores, "kept", 1), "kept = 1, must be true or false"),
        (
            MESSAGES["metrics"],
            changed(MESSAGES["metrics"], "test", {"accuracy": None}),
            "test = .*, must be names with finite numbers, or null for loss",
        ),
        (
            MESSAGES["join"],
            changed(MESSAGES["join"], "task", ["question answering"]),
            "task = .*, must be one of",
        ),
        (
            MESSAGES["failure"],
            changed(MESSAGES["failure"], "reason", "a\nb"),
            "reason = .*, must be a text of one line",
        ),
        (
            MESSAGES["train_task"],
            changed(MESSAGES["train_task"], "slots", 1),
            "slots = 1, must be 2 to 4",
        ),
    ],
)
def test_the_error_says_what_is_wrong(message, data, problem):
    with pytest.raises(ProtocolError, match=f"^site {SITE}, .*{problem}"):
        decode(data, message)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"{", "its header is no JSON"),
        (b"\xff", "its header is no JSON"),
        (b"[" * 10**5, "its header is no JSON"),
        (b"[]", "must be an object"),
        (b'{"version": NaN}', "its header is no JSON"),
        (b'{"version": 1}', "fields are absent: 'kind'"),
    ],
)
def test_a_header_of_anything_else_is_refused(text, problem):
    with pytest.raises(ProtocolError, match=problem):
        decode(wire.FRAME.pack(wire.MARK, len(text)) + text, update)


def test_a_header_that_is_longer_than_allowed_is_refused_by_its_length():
    data = wire.FRAME.pack(wire.MARK, 2**32 - 1) + b"{}"
    with pytest.raises(ProtocolError, match="a header of 4294967295 bytes, of 10 bytes in all"):
        decode(data, update)


def test_two_arrays_of_one_name_are_refused():
    message = MESSAGES["train_task"]
    header, arrays = opened(wire.encode(message))
    one = json.dumps({"dtype": "I32", "shape": [2], "data_offsets": [0, 8]})
    other = json.dumps({"dtype": "I32", "shape": [2], "data_offsets": [8, 16]})
    text = f'{{"layers":{one},"layers":{other}}}'.encode()
    stored = struct.pack("<Q", len(text)) + text + 2 * arrays["layers"].tobytes()
    front = closed(header, {})
    _, length = wire.FRAME.unpack_from(front)
    with pytest.raises(ProtocolError):
        decode(front[: wire.FRAME.size + length] + stored, message)


@every_kind
def test_corrupted_bytes_are_refused_or_another_right_message(message):
    """Numbers may change without notice: a checksum is the transport's."""
    data, draw = wire.encode(message), np.random.default_rng(11)
    refused = 0
    for _ in range(400):
        bad = bytearray(data)
        for at in draw.integers(len(bad), size=draw.integers(1, 4)):
            bad[at] = draw.integers(256)
        cut = draw.integers(len(bad)) if draw.random() < 0.2 else len(bad)
        try:
            found = decode(bytes(bad[:cut]), message)
        except ProtocolError:
            refused += 1
            continue
        assert found.site == SITE
        for name, spec in type(found).specs(found.fields(), LAYOUT).items():
            array = found.tensors()[name]
            assert array.shape == spec.shape
            assert not spec.finite or np.isfinite(array).all()
    assert refused > 200


def test_the_log_sends_what_differs_by_a_bit_and_nothing_else():
    def state(round, rows_L, head):
        return ServerState(rows_L, head, np.int32(round), np.zeros(0, bool))

    log = ModelLog(state(0, ROWS_L, HEAD))
    assert log.since(NOTHING).layers_R.tolist() == list(range(LAYERS))
    assert log.since(NOTHING).head.keys() == HEAD.keys()
    assert log.since(0).layers_R.size == 0
    rows_L = jax.tree.map(np.copy, ROWS_L)
    rows_L["down"]["bias"][2, 0] = np.nextafter(rows_L["down"]["bias"][2, 0], np.float32(9))
    log.follow(state(1, rows_L, HEAD))
    rows_L = jax.tree.map(np.copy, rows_L)
    rows_L["down"]["kernel"][0] = 1.0
    head = {**HEAD, "findings": {"scale": np.array(-1.5, np.float32)}}
    log.follow(state(2, rows_L, head))
    sent = {round: log.since(round) for round in (0, 1, 2)}
    assert {round: sent[round].layers_R.tolist() for round in sent} == {0: [0, 2], 1: [0], 2: []}
    assert {round: list(sent[round].head) for round in sent} == {
        0: ["findings"],
        1: ["findings"],
        2: [],
    }
    np.testing.assert_array_equal(sent[1].rows_R["down"]["kernel"], rows_L["down"]["kernel"][[0]])
