"""Runs that are really killed, at different stages, and started again."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.helpers.paths import REPOSITORY

ROUNDS = 4
DEADLINE = 300.0
"""Seconds after which a run that should have reached a stage counts as hanging."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("resume")


def start(folder, workdir):
    command = [
        *(sys.executable, "-m", "f3ocus_jax.train", "--config=configs/phantom.py:tiny"),
        *(f"--workdir={workdir}", f"--config.data.data_dir={folder / 'data'}"),
        f"--config.federated.rounds={ROUNDS}",
    ]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    with (folder / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def finish(folder, workdir):
    process = start(folder, workdir)
    assert process.wait(DEADLINE) == 0, (folder / f"{workdir.name}.log").read_text()


def kill_when(process, reached):
    """Sends SIGKILL as soon as a stage is reached; fails if the run ends before it."""
    limit = time.monotonic() + DEADLINE
    while not reached():
        assert process.poll() is None, "the run ended before the stage it was to be killed in"
        assert time.monotonic() < limit, "the stage was never reached"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()


def finished_rounds(workdir):
    path = workdir / "records.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def half_written_checkpoint(workdir):
    return any((workdir / "checkpoints").glob("*.orbax-checkpoint-tmp*"))


def records_without_times(workdir):
    lines = (workdir / "records.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return [{key: record[key] for key in record if key != "seconds"} for record in records]


def final_state(workdir):
    with ocp.CheckpointManager(workdir / "checkpoints") as manager:
        args = ocp.args.Composite(state=ocp.args.StandardRestore())
        return manager.restore(manager.latest_step(), args=args)["state"]


def leaves(tree, prefix=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{prefix}/{key}")
    else:
        yield prefix, np.asarray(tree)


@pytest.fixture(scope="module")
def uninterrupted(folder):
    workdir = folder / "uninterrupted"
    finish(folder, workdir)
    return workdir


STAGES = {
    "before the first round": lambda workdir: (workdir / "run.json").exists(),
    "while a checkpoint is written": half_written_checkpoint,
    "in the second round": lambda workdir: finished_rounds(workdir) == 2,
    "after the third round": lambda workdir: finished_rounds(workdir) == 4,
    "while the report is written": lambda workdir: (workdir / "figures").exists(),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_run_killed_at_every_stage_ends_bit_identical_to_an_uninterrupted_one(
    folder, uninterrupted
):
    workdir = folder / "killed"
    for stage, reached in STAGES.items():
        process = start(folder, workdir)
        kill_when(process, lambda reached=reached: reached(workdir))
        assert process.returncode == -signal.SIGKILL, stage
    finish(folder, workdir)
    assert len(records_without_times(uninterrupted)) == ROUNDS + 1
    assert records_without_times(workdir) == records_without_times(uninterrupted)
    expected, found = dict(leaves(final_state(uninterrupted))), dict(leaves(final_state(workdir)))
    assert found.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
    assert not half_written_checkpoint(workdir)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("delay", [0.05, 0.4, 1.1])
def test_a_run_killed_at_a_random_moment_ends_bit_identical(folder, uninterrupted, delay):
    workdir = folder / f"killed_{delay}"
    process = start(folder, workdir)
    started = []

    def reached():
        if finished_rounds(workdir) >= 1 and not started:
            started.append(time.monotonic())
        return started and time.monotonic() > started[0] + delay

    kill_when(process, reached)
    finish(folder, workdir)
    assert records_without_times(workdir) == records_without_times(uninterrupted)
    expected, found = dict(leaves(final_state(uninterrupted))), dict(leaves(final_state(workdir)))
    for name, leaf in expected.items():
        np.testing.assert_array_equal(found[name], leaf, err_msg=name)
