"""Records survive a kill at any byte, and every file that is written is strict JSON."""

import dataclasses
import json
import logging
import math
from collections.abc import Callable

import numpy as np
import pytest

from f3ocus_jax.report import record_files
from f3ocus_jax.types import RoundRecord

MakeRecords = Callable[..., list[RoundRecord]]


def test_append_then_read_gives_the_same_records(tmp_path, make_records):
    path = tmp_path / "run" / "records.jsonl"
    written = make_records()
    for record in written:
        record_files.append_record(path, record)
    assert record_files.read_records(path) == written
    assert [json.loads(line)["round"] for line in path.read_text().splitlines()] == [0, 1, 2, 3, 4]


def test_read_gives_nothing_where_no_run_was(tmp_path):
    assert record_files.read_records(tmp_path / "records.jsonl") == []


def test_a_line_cut_at_any_byte_is_dropped_with_a_note_and_the_next_append_is_whole(
    tmp_path, make_records, caplog
):
    path = tmp_path / "records.jsonl"
    written = make_records(clients=1, layers=2, rounds=2, budget=1)
    record_files.rewrite_records(path, written)
    whole = path.read_bytes()
    last_line_start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(last_line_start + 1, len(whole) - 1):
        path.write_bytes(whole[:cut])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert record_files.read_records(path) == written[:2]
        assert "line 3: dropped" in caplog.text
    record_files.append_record(path, written[2])
    assert path.read_bytes() == whole


def test_a_line_that_only_lacks_its_newline_is_kept(tmp_path, make_records):
    path = tmp_path / "records.jsonl"
    written = make_records(rounds=2)
    record_files.rewrite_records(path, written[:2])
    path.write_bytes(path.read_bytes()[:-1])
    record_files.append_record(path, written[2])
    assert record_files.read_records(path) == written


def test_rewrite_replaces_the_file_and_leaves_no_other(tmp_path, make_records):
    path = tmp_path / "records.jsonl"
    written = make_records()
    record_files.rewrite_records(path, written)
    record_files.rewrite_records(path, written[:2])
    assert record_files.read_records(path) == written[:2]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_number_json_cannot_hold_is_refused_by_name_and_nothing_is_written(
    tmp_path, make_records, bad
):
    path = tmp_path / "records.jsonl"
    written = make_records()
    record_files.append_record(path, written[0])
    before = path.read_bytes()
    broken = dataclasses.replace(
        written[1], clients=[dataclasses.replace(written[1].clients[0], scores=[0.5, bad])]
    )
    with pytest.raises(ValueError, match=r"round 1: clients\[0\]\.scores\[1\] is -?(nan|inf)"):
        record_files.append_record(path, broken)
    assert path.read_bytes() == before


def test_an_array_value_is_refused_by_name(tmp_path, make_records):
    record = dataclasses.replace(make_records()[0], loss=np.float32(1.0))
    with pytest.raises(TypeError, match="round 0: loss is a float32"):
        record_files.append_record(tmp_path / "records.jsonl", record)


def test_a_broken_line_inside_the_file_names_its_number(tmp_path, make_records):
    path = tmp_path / "records.jsonl"
    record_files.rewrite_records(path, make_records())
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "{", *lines[2:]]) + "\n")
    with pytest.raises(ValueError, match="line 2: no round record"):
        record_files.read_records(path)


def test_rounds_must_ascend(tmp_path, make_records):
    written = make_records()
    with pytest.raises(ValueError, match="round 1 follows round 2"):
        record_files.rewrite_records(tmp_path / "records.jsonl", [written[2], written[1]])
    assert list(tmp_path.iterdir()) == []
