"""A folder of a user's own through a whole federation: stopped, resumed, evaluated, asked."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import experiment, runs
from tests.helpers.configs import read_config, without_times
from tests.helpers.own_files import COLUMNS, HOSPITALS, make_rows, write_csv, write_folder
from tests.helpers.paths import REPOSITORY

QUESTION = "is there an effusion?"
DEADLINE = 900.0
"""Seconds after which a command counts as hanging."""


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
    assert sizes == {"Bern": 12, "Oslo": 12}
    (oslo,) = (each for each in parts.federation.summary.clients if each.name == "Oslo")
    assert oslo.examples == {"train": 12, "test": 4, "validation": 4}
    assert oslo.images == {"train": 6, "test": 2, "validation": 2}


def write_vqa_rad(source, folder):
    """VQA-RAD as a user would have it: a CSV beside images; an organ is a hospital."""
    released = json.loads((source / "VQA_RAD Dataset Public.json").read_text(encoding="utf-8"))
    rows = [
        {
            "image": f"images/{row['image_name']}",
            "question": row["question"],
            "answer": str(row["answer"]),
            "hospital": row["image_organ"],
            "patient": row["image_name"],
        }
        for row in released
    ]
    shutil.copytree(source / "VQA_RAD Image Folder", folder / "images")
    write_csv(folder / "questions.csv", rows, COLUMNS)
    return rows


def command(name, folder, *arguments):
    """A running command of the package."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    return subprocess.Popen(
        [sys.executable, "-m", f"f3ocus_jax.{name}", *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def output_of(process):
    output, _ = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, output
    return output


def finished_rounds(workdir):
    path = workdir / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def kill_after_round(process, number, workdir):
    limit = time.monotonic() + DEADLINE
    while finished_rounds(workdir) <= number:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < limit, "the round was never reached"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


def results_of(workdir):
    """Records without what no two runs share, and the bytes of the final model."""
    lines = (workdir / "records.jsonl").read_text(encoding="utf-8").splitlines()
    records = [{**json.loads(line), "seconds": None} for line in lines]
    return records, (workdir / "model" / "model.safetensors").read_bytes()


@pytest.mark.slow
def test_vqa_rad_as_own_files_is_killed_resumed_evaluated_and_asked(real_data, tmp_path):
    own = tmp_path / "own"
    rows = write_vqa_rad(real_data / "vqa_rad", own)

    def train(workdir):
        settings = {
            "data.datasets": f"('files:{own}',)",
            "data.data_dir": tmp_path / "built",
            "training.max_local_steps": 2,
            "federated.rounds": 3,
        }
        flags = [f"--config.{name}={value}" for name, value in settings.items()]
        config = "--config=configs/own_data.py:tiny_last_k"
        return command("train", tmp_path, config, f"--workdir={workdir}", *flags)

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    output = output_of(train(whole))
    assert all(f"  {hospital}" in output for hospital in ("ABD", "CHEST", "HEAD"))
    kill_after_round(train(killed), 1, killed)
    assert finished_rounds(killed) < 4
    assert "resuming after round" in output_of(train(killed))
    records, weights = results_of(killed)
    assert (records, weights) == results_of(whole)
    assert [client["client"] for client in records[-1]["clients"]] == ["ABD", "CHEST", "HEAD"]

    output_of(command("evaluate", tmp_path, f"--workdir={killed}", "--round=3"))
    measured = json.loads((killed / "evaluation_round_3.json").read_text(encoding="utf-8"))
    for client in records[-1]["clients"]:
        assert measured["clients"][client["client"]] == pytest.approx(client["test"], abs=1e-6)
    question = [f"--image={own / rows[0]['image']}", f"--question={rows[0]['question']}"]
    answer = output_of(command("predict", tmp_path, f"--workdir={killed}", "--round=3", *question))
    assert answer.splitlines()[-1] == f"round 3 of {killed}"
