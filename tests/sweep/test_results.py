"""Results read from the files of a finished run."""

import dataclasses
import json
import math

import pytest

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.report import record_files
from f3ocus_jax.sweep import results
from f3ocus_jax.types import ClientRecord, RoundRecord, SelectionRecord


def write_run(folder, row=None, numbers=(0, 1, 2)):
    """Writes the files of a run of one client on four layers."""
    row = row or {
        "client": "ct",
        "accuracy_start": 0.1,
        "accuracy_final": 0.5,
        "accuracy_best": 0.6,
    }
    mean = {"client": "mean", "megabits_up": 2.0, "gigaflops_total": 3.0}
    table = {"rounds": 2, "clients": [row], "mean": mean, "seconds": {"selection": 4.0}}
    (folder / "table.json").write_text(json.dumps(table))
    start = ClientRecord("ct", 9, 2, None, [], [], [], [], [], None, {"accuracy": 0.1, "loss": 1.0})
    trained = dataclasses.replace(start, scores=[0.25] * 4, layers=[0, 3])
    chosen = SelectionRecord("lntk", "nsga2", [(0.5, 0.1)], 0, (0.4, 0.2), 0.75)
    for number in numbers:
        client = dataclasses.replace(trained, layers=[0, number]) if number else start
        selected = chosen if number else None
        record = RoundRecord(number, number / 10, 1.0, [client], selected, {})
        record_files.append_record(folder / "records.jsonl", record)


def test_a_run_is_read_from_its_files(tmp_path):
    write_run(tmp_path)
    found = results.read_result(tmp_path, base="phantom", method="f3ocus", seed=3)
    assert (found.base, found.method, found.seed) == ("phantom", "f3ocus", 3)
    assert found.clients["ct"].metrics == {"accuracy": 0.5, "final": 0.5, "start": 0.1, "best": 0.6}
    assert found.rounds == [0.0, 0.1, 0.2]
    assert (found.algorithm, found.hypervolume) == ("nsga2", 0.75)
    assert found.picks == [1.0, 0.5, 0.5, 0.0]
    assert found.costs == {"megabits_up": 2.0, "gigaflops_total": 3.0}
    assert found.seconds == {"selection": 4.0}
    assert found.accuracy == 0.5


def test_the_round_chosen_on_validation_counts_where_there_is_one(tmp_path):
    row = {"client": "ct", "accuracy_final": 0.5, "accuracy_chosen": 0.4, "accuracy_oracle": 0.6}
    write_run(tmp_path, row)
    found = results.read_result(tmp_path).clients["ct"].metrics
    assert (found["accuracy"], found["final"], found["best"]) == (0.4, 0.5, 0.6)


def test_rounds_that_were_not_measured_are_nan(tmp_path):
    write_run(tmp_path, numbers=(0, 2))
    values = results.read_result(tmp_path).rounds
    assert values[0::2] == [0.0, 0.2]
    assert math.isnan(values[1])


def test_a_folder_without_a_finished_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no finished run"):
        results.read_result(tmp_path)


@pytest.mark.parametrize("damage", ['{"clients": [', '{"clients": []}', '{"clients": 3}', "[]"])
def test_a_damaged_table_is_named(tmp_path, damage):
    write_run(tmp_path)
    (tmp_path / "table.json").write_text(damage)
    with pytest.raises(DamagedError, match=r"table\.json is damaged"):
        results.read_result(tmp_path)


def test_a_metric_that_is_not_finite_is_no_result(tmp_path):
    write_run(tmp_path, {"client": "ct", "accuracy_final": math.nan})
    with pytest.raises(DamagedError, match="'ct' has a metric that is not finite"):
        results.read_result(tmp_path)
