"""A folder of a user's own through a whole federation: stopped, resumed, evaluated, asked."""

import shutil

import pytest

from f3ocus_jax import runs
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import experiment
from tests.helpers.configs import read_config, without_times
from tests.helpers.own_files import HOSPITALS, make_rows, write_csv, write_folder

QUESTION = "is there an effusion?"


@pytest.mark.extended
def test_a_run_on_own_files_is_resumed_evaluated_and_asked_without_them(tmp_path):
    folder = write_folder(tmp_path / "own", pictures=12)
    data = {"data__datasets": (f"files:{folder}",), "task": "own_data"}
    whole = experiment.run(read_config("tiny", tmp_path / "data", **data), tmp_path / "whole")
    assert sorted(client.client for client in whole[-1].clients) == sorted(HOSPITALS)
    first = read_config("tiny", tmp_path / "data", federated__rounds=1, **data)
    experiment.run(first, tmp_path / "run")

    kept = folder.rename(tmp_path / "away")
    again = experiment.run(read_config("tiny", tmp_path / "data", **data), tmp_path / "run")
    assert without_times(again) == without_times(whole)
    finished = runs.load(tmp_path / "run")
    measured = finished.evaluate()
    for client in whole[-1].clients:
        assert measured[client.client] == pytest.approx(client.test, abs=1e-6)
    (answer,) = finished.answer(kept / "images" / "Oslo_0.png", [QUESTION])
    assert answer.text in {row["answer"] for row in make_rows()}

    shutil.copytree(kept, folder)
    changed = [{**row, "answer": "never"} for row in make_rows(12)]
    write_csv(folder / "questions.csv", changed)
    longer = read_config("tiny", tmp_path / "data", federated__rounds=3, **data)
    before = (tmp_path / "run" / "records.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="names of answers or their order changed"):
        experiment.run(longer, tmp_path / "run")
    assert (tmp_path / "run" / "records.jsonl").read_bytes() == before


def test_hospitals_become_clients(tmp_path):
    folder = write_folder(tmp_path / "own")
    settings = {"data__datasets": (f"files:{folder}",), "data__partition": ("hospital",)}
    config = read_config("tiny", tmp_path / "data", task="own_data", **settings)
    parts = experiment.assemble(config)
    sizes = {client.name: len(client.train) for client in parts.federation.clients}
    assert sizes == {"Bern": 16, "Oslo": 16}
    (oslo,) = (each for each in parts.federation.summary.clients if each.name == "Oslo")
    assert oslo.examples == {"train": 16, "test": 4}
    assert oslo.images == {"train": 8, "test": 2}
