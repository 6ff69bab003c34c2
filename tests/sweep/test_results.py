"""Results read from the files of a finished run."""

import json
import math

import numpy as np
import pytest

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.sweep import results
from tests.helpers.sweep_results import write_run


def test_a_run_is_read_from_its_files(tmp_path):
    write_run(tmp_path)
    found = results.read_result(tmp_path, base="phantom", method="f3ocus", seed=3)
    assert (found.base, found.method, found.seed) == ("phantom", "f3ocus", 3)
    assert found.clients["ct"].metrics == {"accuracy": 0.5, "final": 0.5, "start": 0.1, "best": 0.6}
    assert found.rounds == [0.0, 0.1, 0.2]
    assert (found.algorithm, found.hypervolume) == ("nsga2", 0.75)
    assert found.picks == [1.0, 0.5, 0.5, 0.0]
    assert found.losses == [1.0, 1.0, 1.0]
    assert np.isnan(found.train_losses).tolist() == [True, False, False]
    assert found.train_losses[1:] == [0.5, 0.25]
    assert found.costs == {"megabits_up": 2.0, "gigaflops_total": 3.0}
    assert found.seconds == {"selection": 4.0}
    assert found.accuracy == 0.5


def test_the_round_chosen_on_validation_counts_where_there_is_one(tmp_path):
    row = {"client": "ct", "accuracy_final": 0.5, "accuracy_chosen": 0.4, "accuracy_oracle": 0.6}
    write_run(tmp_path, [row])
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
    write_run(tmp_path, [{"client": "ct", "accuracy_final": math.nan}])
    with pytest.raises(DamagedError, match="'ct' has a metric that is not finite"):
        results.read_result(tmp_path)


def test_the_answers_of_the_chosen_round_are_read(tmp_path):
    write_run(tmp_path)
    found = results.read_result(tmp_path)
    assert found.correct["ct"].tolist() == [True, True, False, False]
    assert found.examples == {"ct": "0123"}
    table = json.loads((tmp_path / "table.json").read_text())
    (tmp_path / "table.json").write_text(json.dumps({**table, "chosen_round": 1}))
    (tmp_path / "partition.json").unlink()
    found = results.read_result(tmp_path)
    assert found.correct["ct"].tolist() == [True, False, False, False]
    assert found.examples == {"ct": ""}
    (tmp_path / "table.json").write_text(json.dumps({**table, "chosen_round": 0}))
    assert results.read_result(tmp_path).correct is None
