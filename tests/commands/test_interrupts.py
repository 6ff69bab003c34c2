"""A command that is interrupted: one line, its own exit status, and a run that goes on."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from f3ocus_jax import interrupts
from f3ocus_jax.__main__ import COMMANDS
from f3ocus_jax.sweep import launching
from tests.helpers.paths import REPOSITORY

ROUNDS = 4


def start(workdir, data):
    arguments = ("--config=configs/phantom.py:tiny_last_k", f"--workdir={workdir}")
    settings = (f"--config.data.data_dir={data}", f"--config.federated.rounds={ROUNDS}")
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "f3ocus_jax.train", *arguments, *settings],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("module", "number", "status"),
    [
        *((f"f3ocus_jax.{command}", signal.SIGINT, 130) for command in COMMANDS),
        ("f3ocus_jax train", signal.SIGINT, 130),
        ("f3ocus_jax.train", signal.SIGTERM, 143),
        ("tfds_medvqa.build", signal.SIGINT, 130),
        ("tfds_medvqa.build", signal.SIGTERM, 143),
    ],
)
def test_a_command_that_is_stopped_while_it_imports_says_one_line(module, number, status, tmp_path):
    goes_on = "builds it anew" if module == "tfds_medvqa.build" else "goes on"
    assert stop_while_it_imports(tmp_path, ["-m", *module.split()], number) == (
        status,
        f"error: stopped by {number.name}; the same command again {goes_on}\n",
    )


def stop_while_it_imports(folder, command, number, **environment):
    """Status and errors of a Python program that a signal reaches as it imports a library."""
    for name in ("absl", "jax", "tensorflow_datasets"):  # libraries that take their time
        (folder / f"{name}.py").write_text("import time\nprint('importing')\ntime.sleep(600)\n")
    process = subprocess.Popen(
        [sys.executable, "-u", *command],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(folder), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "importing\n"
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no processes on chosen cores")
@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_worker_that_is_stopped_while_it_imports_leaves_the_line_to_its_parent(number, tmp_path):
    cores = str(min(os.sched_getaffinity(0)))
    command = ["-c", launching.PINNED, cores, "work", f"--workdir={tmp_path}"]
    quiet = {interrupts.PARENT_SAYS_IT: "1"}
    assert stop_while_it_imports(tmp_path, command, number, **quiet) == (128 + number, "")


def start_sweep(workdir, *arguments):
    """Starts workers as a terminal does, in a group of processes."""
    return subprocess.Popen(
        [sys.executable, "-m", "f3ocus_jax.sweep", "work", f"--workdir={workdir}", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.extended
@pytest.mark.parametrize("to_all", [True, False], ids=["Ctrl-C", "SIGTERM"])
def test_a_sweep_of_two_workers_says_one_line_and_gives_its_runs_back(to_all, tmp_path):
    """A terminal signals the command and its workers, a scheduler the command alone."""
    process = start_sweep(tmp_path, "--config=sweeps/demo", "--workers=2")
    limit = time.monotonic() + 600
    while len(list(tmp_path.glob("runs/*/records.jsonl"))) < 2:
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.05)
    number = signal.SIGINT if to_all else signal.SIGTERM
    (os.killpg if to_all else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors) == (
        128 + number,
        f"error: stopped by {number.name}; the same command again goes on\n",
    )
    assert not list(tmp_path.glob("leases/*.lock"))
    assert not list(tmp_path.glob("runs/*/failed.json"))


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_build_that_is_stopped_says_one_line_and_is_built_anew(number, status, tmp_path):
    build = [sys.executable, "-m", "tfds_medvqa.build", "phantom_medvqa/clients"]
    build += ["--data_dir", str(tmp_path)]
    process = subprocess.Popen(build, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    while not list(tmp_path.rglob("*incomplete*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (
        status,
        f"error: stopped by {number.name}; the same command again builds it anew\n",
    )
    assert not list(tmp_path.rglob("*incomplete*"))
    assert not list(tmp_path.rglob("*lock*"))


def wait_for_round(process, number):
    """Reads what the process prints until it has ended a round."""
    for line in process.stdout:
        if f"round {number}/{ROUNDS}" in line:
            return
    raise AssertionError(process.stderr.read())


def read_records(workdir):
    return [json.loads(line) for line in (workdir / "records.jsonl").read_text().splitlines()]


@pytest.mark.extended
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
def test_an_interrupted_run_says_one_line_and_goes_on(number, status, tmp_path):
    workdir, data = tmp_path / "run", tmp_path / "data"
    process = start(workdir, data)
    wait_for_round(process, 1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    (line,) = [line for line in errors.splitlines() if line.strip()]
    assert line == f"error: stopped by {number.name}; the same command again goes on"
    rounds = [path.name for path in (workdir / "checkpoints").iterdir()]
    assert all(name.isdigit() for name in rounds), rounds  # none is half-written
    records = read_records(workdir)
    assert records[-1]["round"] == max(map(int, rounds)) >= 1
    process = start(workdir, data)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert f"resuming after round {records[-1]['round']}" in output
    again = read_records(workdir)
    assert [record["round"] for record in again] == list(range(ROUNDS + 1))
    assert again[: len(records)] == records


@pytest.mark.extended
def test_a_second_run_is_refused_and_a_killed_one_is_taken_over(tmp_path):
    workdir, data = tmp_path / "run", tmp_path / "data"
    first = start(workdir, data)
    wait_for_round(first, 1)
    first.send_signal(signal.SIGSTOP)  # else it may end by itself before the second one starts
    second = start(workdir, data)
    _, errors = second.communicate(timeout=600)
    assert second.returncode == 1
    (line,) = [line for line in errors.splitlines() if line.strip()]
    assert line.startswith(f"error: {workdir} is in use by process {first.pid} on ")
    first.kill()
    first.communicate()
    leftover = workdir / "model" / ".adapters.safetensors.partial-1"
    leftover.parent.mkdir(exist_ok=True)
    leftover.touch()
    third = start(workdir, data)
    output, errors = third.communicate(timeout=600)
    assert third.returncode == 0, errors
    assert sum("was left behind by" in line for line in output.splitlines()) == 1
    assert [record["round"] for record in read_records(workdir)] == list(range(ROUNDS + 1))
    names = {path.name for path in workdir.rglob("*")}
    assert not [name for name in names if ".lock" in name or "partial" in name or ".tmp" in name]
    mask = os.umask(0)
    os.umask(mask)
    for path in [*workdir.rglob("*"), *data.rglob("*")]:
        assert path.is_dir() or path.stat().st_mode & 0o777 == 0o666 & ~mask, path


@pytest.mark.extended
def test_commands_that_read_a_run_that_goes_on_disturb_nothing(tmp_path):
    workdir, data = tmp_path / "run", tmp_path / "data"
    process = start(workdir, data)
    wait_for_round(process, 1)
    process.send_signal(signal.SIGSTOP)  # in the middle of a round
    records = read_records(workdir)
    checkpoints = sorted(path.name for path in (workdir / "checkpoints").iterdir())
    commands = {
        "evaluate": (),
        "inspect_data": ("--config=configs/phantom.py:tiny", f"--config.data.data_dir={data}"),
    }
    for command, arguments in commands.items():
        reader = [sys.executable, "-m", f"f3ocus_jax.{command}", f"--workdir={workdir}", *arguments]
        done = subprocess.run(reader, cwd=REPOSITORY, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert list(workdir.glob("evaluation_round_*.json"))
    assert (workdir / "data.html").is_file()
    assert read_records(workdir) == records
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == checkpoints
    process.send_signal(signal.SIGCONT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    again = read_records(workdir)
    assert [record["round"] for record in again] == list(range(ROUNDS + 1))
    assert again[: len(records)] == records
