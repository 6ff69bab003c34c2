"""The commands as a user runs them: one line for every mistake, and nothing half-written."""

import json
import os
import re
import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest

from f3ocus_jax.federation import experiment
from f3ocus_jax.models.huggingface import directory as huggingface
from tests.helpers.configs import read_config
from tests.helpers.marking import marked
from tests.helpers.paths import REPOSITORY
from tfds_medvqa.common import sealed_build


@pytest.fixture(
    scope="module", params=["quickly", pytest.param("as for users", marks=pytest.mark.slow)]
)
def run(request):
    """Runs a command, compiled quickly as tests are, or with no flag but the number of devices."""
    users = "--xla_force_host_platform_device_count=4"
    quickly = request.param == "quickly"
    environment = os.environ | ({} if quickly else {"XLA_FLAGS": users})

    def run(module, *arguments):
        return subprocess.run(
            [sys.executable, "-m", f"f3ocus_jax.{module}", *map(str, arguments)],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """Datasets that the runs of this file share."""
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def train(run, folder):
    """Starts or resumes the tiny federation in a workdir."""

    def train(workdir, *arguments):
        data = f"--config.data.data_dir={folder / 'data'}"
        config = "--config=configs/phantom.py:tiny"
        return run("train", config, f"--workdir={workdir}", data, *arguments)

    return train


def error_of(process):
    """The one line a failed command says; fails if there is more, or if it did not fail."""
    assert process.returncode != 0, process.stdout
    lines = [line for line in process.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, process.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.fixture(scope="module")
def finished(train, folder):
    """A finished tiny run, its output and its workdir."""
    workdir = folder / "finished"
    process = train(workdir)
    assert process.returncode == 0, process.stderr
    return process, workdir


def test_a_run_leaves_records_table_figures_scalars_checkpoints_and_model(finished):
    process, workdir = finished
    records = [json.loads(line) for line in (workdir / "records.jsonl").read_text().splitlines()]
    assert [record["round"] for record in records] == [0, 1, 2]
    for client, budget in zip(records[-1]["clients"], [1, 2, 1, 2, 1, 2, 1, 2, 1], strict=True):
        assert len(client["layers"]) == len(client["own_layers"]) == budget
        assert sum(client["scores"]) == pytest.approx(1.0, abs=1e-5)
        assert max(client["residuals"]) <= 1e-4
        shares = [value / sum(client["values"]) for value in client["values"]]
        assert client["scores"] == pytest.approx(shares, rel=1e-5)
        best = sorted(range(len(shares)), key=shares.__getitem__)[-budget:]
        assert client["own_layers"] == sorted(best)
        first = sorted(range(len(client["ranks"])), key=client["ranks"].__getitem__)[:budget]
        assert sorted(first) == client["layers"]
    table = (workdir / "table.md").read_text()
    for client in records[-1]["clients"]:
        assert client["client"] in table
    assert len(list((workdir / "figures").glob("*.png"))) >= 6
    assert list((workdir / "tensorboard").glob("events.*"))
    assert (workdir / "model" / "model.safetensors").is_file()
    assert (workdir / "model" / "adapters.safetensors").is_file()
    assert "round 2/2" in process.stdout
    assert re.search("^round 1/2 .* compiled .* s  left .* s$", process.stdout, re.MULTILINE)
    assert re.search("^compiling for round 1$", process.stdout, re.MULTILINE)
    stages, first = ("importance", "selection", "training", "evaluation"), records[1]["seconds"]
    assert set(first) == {*stages, *(f"compiling {stage}" for stage in stages)}
    del first["compiling evaluation"]  # round 0 compiled it
    assert min(first.values()) > 0.0
    seconds = json.loads((workdir / "table.json").read_text())
    total = sum(record["seconds"]["training"] for record in records[1:])
    assert seconds["seconds"]["training"] == pytest.approx(total)
    assert str(workdir) in process.stdout


@pytest.mark.extended
def test_the_same_command_again_finds_the_run_finished(train, finished):
    _, workdir = finished
    before = (workdir / "records.jsonl").read_bytes()
    process = train(workdir)
    assert process.returncode == 0
    assert "resuming after round 2" in process.stdout
    assert (workdir / "records.jsonl").read_bytes() == before


@pytest.mark.extended
def test_evaluate_gives_the_accuracies_of_the_records(run, finished):
    _, workdir = finished
    process = run("evaluate", f"--workdir={workdir}", "--round=2")
    assert process.returncode == 0, process.stderr
    evaluated = json.loads((workdir / "evaluation_round_2.json").read_text())["clients"]
    record = json.loads((workdir / "records.jsonl").read_text().splitlines()[-1])
    for client in record["clients"]:
        assert evaluated[client["client"]] == pytest.approx(client["test"], abs=1e-6)


@pytest.mark.extended
def test_predict_prints_the_top_answers_with_probabilities(run, finished):
    _, workdir = finished
    picture = next((workdir / "figures").glob("*.png"))
    arguments = (f"--image={picture}", "--question=is there a mass?", "--top=3")
    process = run("predict", f"--workdir={workdir}", *arguments)
    assert process.returncode == 0, process.stderr
    *answers, source = process.stdout.splitlines()
    shares = [float(line.split("%")[0]) for line in answers]
    assert len(answers) == 3
    assert shares == sorted(shares, reverse=True)
    assert all(0 <= share <= 100 for share in shares)
    assert str(workdir) in source


@pytest.mark.extended
def test_predict_answers_a_file_of_questions_as_json(run, finished, tmp_path):
    _, workdir = finished
    picture = next((workdir / "figures").glob("*.png"))
    (tmp_path / "questions.csv").write_text(f"question,image\nwhich organ?,{picture}\nb?,\n")
    arguments = (f"--image={picture}", "--question=a?", f"--questions={tmp_path / 'questions.csv'}")
    process = run("predict", f"--workdir={workdir}", *arguments, "--format=json", "--top=2")
    assert process.returncode == 0, process.stderr
    answered = json.loads(process.stdout)
    assert [one["question"] for one in answered] == ["a?", "which organ?", "b?"]
    assert all(len(one["probabilities"]) == 2 for one in answered)
    assert str(workdir) in process.stderr


WRONG = {
    "old name": (
        ["--config.importance.spt_share=1"],
        "spt_share is unknown; did you mean importance.spt.share?",
    ),
    "unknown key": (
        ["--config.federated.round=3"],
        "config.federated.round is unknown; did you mean rounds?",
    ),
    "unknown section": (
        ["--config.federated.rounds=3", "--config.federatd.budgets=(1,)"],
        "config.federatd.budgets is unknown; did you mean federated?",
    ),
    "budget 0": (["--config.federated.budgets=(0,)"], "must be at least 1 each"),
    "budget above L": (
        ["--config.federated.budgets=(5,)"],
        "must be at most 4, the number of selectable layers",
    ),
    "probe larger than its data": (
        ["--config.importance.probe_examples=33"],
        "must be at most 29, the training examples of",
    ),
    "no number": (["--config.federated.rounds=many", "stray"], "invalid literal"),
}
"""What is given to `train`, and what its one line says."""


@pytest.mark.parametrize("name", marked(WRONG, extended=WRONG.keys() - {"unknown key"}))
def test_a_wrong_setting_ends_in_one_line_before_anything_is_written(
    train, finished, tmp_path, name
):
    arguments, message = WRONG[name]
    workdir = tmp_path / "run"
    assert message in error_of(train(workdir, *arguments))
    assert not workdir.exists() or not any(workdir.iterdir())


@pytest.mark.extended
def test_a_workdir_that_cannot_be_written_is_named(train, finished, tmp_path):
    (tmp_path / "file").write_text("in the way")
    workdir = tmp_path / "file" / "run"
    message = error_of(train(workdir))
    assert f"--workdir={workdir} cannot be written to" in message


@pytest.mark.extended
def test_a_checkpoint_of_another_config_names_the_field_and_stays(train, finished):
    _, workdir = finished
    before = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    message = error_of(train(workdir, "--config.training.learning_rate=0.5"))
    assert "training.learning_rate was 0.004, is 0.5" in message
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == before


@pytest.mark.extended
def test_more_rounds_continue_a_finished_run(train, finished, tmp_path):
    _, workdir = finished
    longer = tmp_path / "longer"
    shutil.copytree(workdir, longer)
    process = train(longer, "--config.federated.rounds=3")
    assert process.returncode == 0, process.stderr
    assert "resuming after round 2" in process.stdout
    assert len((longer / "records.jsonl").read_text().splitlines()) == 4


@pytest.mark.extended
def test_a_corrupted_image_names_the_dataset_and_the_example(run, folder, finished, tmp_path):
    without_caches = shutil.ignore_patterns("arrays_*")
    shutil.copytree(folder / "data", tmp_path / "data", ignore=without_caches)
    (shard,) = tmp_path.glob("data/phantom_medvqa/tiny/*/*train.array_record*")
    content = shard.read_bytes()
    place = content.index(b"\x89PNG", len(content) // 2)
    shard.write_bytes(content[: place + 40] + bytes(200) + content[place + 240 :])
    sealed_build.seal(shard.parent)  # as if it had been built so
    arguments = (f"--config.data.data_dir={tmp_path / 'data'}", f"--workdir={tmp_path / 'run'}")
    message = error_of(run("train", "--config=configs/phantom.py:tiny", *arguments))
    assert "phantom_medvqa/tiny, split train, example" in message
    assert "cannot be read" in message


@pytest.mark.extended
def test_damaged_data_is_mended_in_one_line_per_file(run, folder, finished, tmp_path):
    shutil.copytree(folder / "data", tmp_path / "data")
    (cache,) = tmp_path.glob("data/phantom_medvqa/tiny/*/arrays_32px/test")
    (cache / "pixels.bin").write_bytes(bytes((cache / "pixels.bin").stat().st_size))
    arguments = ("--config=phantom:tiny", f"--config.data.data_dir={tmp_path / 'data'}")
    page = (*arguments, f"--workdir={tmp_path / 'page'}")
    process = run("inspect_data", *page, "--image_size=32")
    assert process.returncode == 0, process.stderr
    assert "tokens of the longest" in (tmp_path / "page" / "data.html").read_text()
    assert process.stderr.count(f"{cache / 'pixels.bin'} is damaged: its checksum") == 1
    (cache.parents[1] / "dataset_info.json").write_text("")
    process = run("train", *arguments, f"--workdir={tmp_path / 'run'}")
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("dataset_info.json is damaged: 0 bytes instead of") == 1
    expected = (finished[1] / "partition.json").read_text()
    assert (tmp_path / "run" / "partition.json").read_text() == expected


@pytest.mark.extended
def test_a_truncated_weights_file_is_named(run, folder, finished, tmp_path):
    _, workdir = finished
    shutil.copytree(workdir / "model", tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    config = "--config=configs/phantom.py"
    arguments = (f"--config.model.weights={tmp_path / 'model'}", f"--workdir={tmp_path / 'run'}")
    data = (
        "--config.data.datasets=('phantom_medvqa/tiny',)",
        f"--config.data.data_dir={folder}/data",
    )
    message = error_of(run("train", config, *arguments, *data))
    assert str(weights) in message


@pytest.mark.extended
def test_nan_names_round_client_and_step_and_keeps_the_last_good_checkpoint(train, tmp_path):
    workdir = tmp_path / "run"
    sizes = {"learning_rate": 100, "weight_decay": 1000, "local_epochs": 9, "max_local_steps": 9}
    grows = [f"--config.training.{name}={value}" for name, value in sizes.items()]
    message = error_of(train(workdir, *grows))  # each step multiplies the weights by −1e5
    assert "round 1, client " in message
    assert "step 5: the training loss is" in message
    assert [path.name for path in (workdir / "checkpoints").iterdir() if path.is_dir()] == ["0"]
    assert len((workdir / "records.jsonl").read_text().splitlines()) == 1


@pytest.mark.extended
def test_predict_without_a_run_says_how_to_start_one(run, tmp_path):
    arguments = ("--image=x.png", "--question=why?")
    message = error_of(run("predict", f"--workdir={tmp_path}", *arguments))
    assert "holds no run" in message


@pytest.mark.extended
def test_predict_names_a_file_that_is_no_image(run, finished):
    _, workdir = finished
    arguments = (f"--image={workdir / 'table.md'}", "--question=why?")
    message = error_of(run("predict", f"--workdir={workdir}", *arguments))
    assert "table.md cannot be read as an image" in message


@pytest.fixture(scope="module")
def foundation(run, finished, folder):
    """The folder of a finished tiny pre-training."""
    data = f"--config.data.data_dir={folder / 'data'}"
    workdir = folder / "foundation"
    process = run("pretrain", "--config=configs/pretrain.py:tiny", f"--workdir={workdir}", data)
    assert process.returncode == 0, process.stderr
    return workdir


@pytest.mark.extended
def test_pretraining_writes_weights_that_a_federation_takes(foundation, folder):
    assert (foundation / "config.json").is_file()
    settings = {
        "model__weights": str(foundation),
        "data__datasets": ("phantom_medvqa/tiny",),
        "federated__budgets": (1,),
    }
    parts = experiment.assemble(read_config("", folder / "data", **settings))
    written = huggingface.load(foundation, key=jax.random.key(0))
    jax.tree.map(
        np.testing.assert_array_equal, parts.foundation.params["blocks"], written.params["blocks"]
    )


@pytest.mark.extended
def test_a_federation_starts_with_the_weights_of_a_pretraining(run, foundation, folder, tmp_path):
    data = f"--config.data.data_dir={folder / 'data'}"
    process = run(
        "train",
        *("--config=configs/phantom.py", f"--workdir={tmp_path / 'run'}", data),
        f"--config.model.weights={foundation}",
        "--config.data.datasets=('phantom_medvqa/tiny',)",
        *("--config.federated.rounds=0", "--config.federated.budgets=(1,)"),
    )
    assert process.returncode == 0, process.stderr
