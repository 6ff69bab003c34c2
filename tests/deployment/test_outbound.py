"""The log of what leaves a site."""

import datetime
import hashlib

import numpy as np
import pytest

from f3ocus_jax.deployment import outbound
from f3ocus_jax.deployment.joining_messages import Refusal
from f3ocus_jax.deployment.messages import Update
from f3ocus_jax.deployment.outbound import OutboundLog
from f3ocus_jax.deployment.parameters import Parameters
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.privacy.account import Spent

TIME = datetime.datetime(2026, 3, 1, 12, 30, 5, tzinfo=datetime.UTC)


def open_log(folder):
    return OutboundLog(folder, lambda: TIME)


def an_update():
    layers_R = np.array([2, 7], np.int32)
    rows_R = {"kernel": np.ones((2, 3), np.float32)}
    head = {"answers": {"bias": np.zeros(4, np.float32)}}
    return Update(5, "north", Parameters(layers_R, rows_R, head), np.ones(3, np.float32), 10)


def test_a_line_says_what_left_when_how_large_and_of_which_layers(tmp_path):
    open_log(tmp_path).note(an_update(), b"bytes of it")
    (line,) = outbound.read(tmp_path)
    assert (line.time, line.round, line.kind) == ("2026-03-01T12:30:05+00:00", 5, "update")
    assert (line.layers, line.head, line.again) == ([2, 7], ["answers"], False)
    assert (line.bytes, line.sha256) == (11, hashlib.sha256(b"bytes of it").hexdigest())
    assert line.arrays == {
        "layers": [2],
        "rows/kernel": [2, 3],
        "head/answers/bias": [4],
        "losses": [3],
    }
    assert line.fields == {"layers": 2, "heads": ["answers"], "steps": 3, "examples": 10}


def test_a_line_has_the_privacy_that_is_spent(tmp_path):
    log = open_log(tmp_path)
    log.note(an_update(), b"1")
    log.note(an_update(), b"2", Spent(epsilon=1.5, delta=1e-5))
    expected = [None, {"epsilon": 1.5, "delta": 1e-5}]
    assert [line.privacy for line in outbound.read(tmp_path)] == expected


def test_lines_are_added_in_order_and_over_restarts(tmp_path):
    for again in (False, True):
        open_log(tmp_path).note(Refusal(0, "north", "busy"), b"1", again=again)
    assert [line.again for line in outbound.read(tmp_path)] == [False, True]


def test_a_long_field_is_replaced_by_its_length(tmp_path):
    open_log(tmp_path).note(Refusal(0, "north", "x" * 600), b"1")
    assert outbound.read(tmp_path)[0].fields == {"problem": "602 characters"}


def test_a_line_that_was_cut_off_is_of_a_message_that_stayed(tmp_path):
    open_log(tmp_path).note(Refusal(0, "north", "first"), b"1")
    path = tmp_path / outbound.FILE
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    assert [line.fields["problem"] for line in outbound.read(tmp_path)] == ["first"]
    open_log(tmp_path).note(Refusal(0, "north", "second"), b"2")
    assert [line.fields["problem"] for line in outbound.read(tmp_path)] == ["first", "second"]


def test_a_damaged_line_is_named(tmp_path):
    log = open_log(tmp_path)
    log.note(Refusal(0, "north", "first"), b"1")
    with (tmp_path / outbound.FILE).open("a") as file:
        file.write("{}\n")
    with pytest.raises(DamagedError, match="line 2 is damaged"):
        outbound.read(tmp_path)


def test_what_cannot_be_logged_is_an_error(tmp_path):
    log = open_log(tmp_path)
    (tmp_path / outbound.FILE).mkdir()
    with pytest.raises(OSError, match="outbound"):
        log.note(Refusal(0, "north", "first"), b"1")


def test_a_site_without_messages_has_an_empty_log(tmp_path):
    assert outbound.read(tmp_path / "nowhere") == []
