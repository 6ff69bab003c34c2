"""A sweep whose workers are really killed ends in the report of one that nobody disturbed."""

import json
import os
import random
import subprocess
import sys
import time

import pytest

from tests.helpers.paths import REPOSITORY

KILLS = 10
DEADLINE = 1200.0
"""Seconds after which a worker counts as hanging."""


def start(folder, workdir, config, action="work"):
    command = [
        *(sys.executable, "-m", "f3ocus_jax.sweep", action, f"--config=sweeps/{config}"),
        f"--workdir={workdir}",
    ]
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "compiled"),
        "PYTHONPATH": str(REPOSITORY),
    }
    with (folder / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def finish(folder, workdir, config, action="work"):
    assert start(folder, workdir, config, action).wait(DEADLINE) == 0, (
        folder / f"{workdir.name}.log"
    ).read_text()


def holds_a_run(process, workdir):
    for lease in workdir.glob("leases/*.lock"):
        try:
            if json.loads(lease.read_text())["pid"] == process.pid:
                return True
        except (OSError, ValueError):  # It is just being written, or given up.
            continue
    return False


def records_of(workdir):
    """Records of every run by its folder, without the seconds."""
    found = {}
    for path in workdir.glob("runs/*/records.jsonl"):
        rounds = [json.loads(line) for line in path.read_text().splitlines()]
        found[path.parent.name] = [{**each, "seconds": None} for each in rounds]
    return found


def report_of(workdir):
    folder = workdir / "report"
    return {
        path.relative_to(folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
@pytest.mark.parametrize(("config", "runs"), [("demo", 8), ("tuned", 10)])
def test_workers_killed_at_random_moments_leave_the_same_records_and_report(config, runs, tmp_path):
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    for action in ("work", "report"):
        finish(tmp_path, whole, config, action)
    draw = random.Random(0)
    workers = [start(tmp_path, disturbed, config) for _ in range(2)]
    kills, limit = 0, time.monotonic() + DEADLINE
    while kills < KILLS and any(worker.poll() is None for worker in workers):
        assert time.monotonic() < limit
        victim = draw.randrange(2)
        # Kills spread over the runs; two stay for the last one.
        due = kills * (runs - 2) // KILLS
        finished = len(list(disturbed.glob("runs/*/finished.json")))
        if finished >= due and holds_a_run(workers[victim], disturbed):
            time.sleep(draw.uniform(0.0, 2.0))
            workers[victim].kill()
            workers[victim].wait()
            kills += 1
            workers[victim] = start(tmp_path, disturbed, config)
        time.sleep(0.05)
    assert kills == KILLS
    assert [worker.wait(DEADLINE) for worker in workers] == [0, 0]
    finish(tmp_path, disturbed, config, "report")
    assert len(records_of(whole)) == runs
    assert records_of(disturbed) == records_of(whole)
    assert report_of(disturbed) == report_of(whole)
    assert (tmp_path / "disturbed" / "report" / "report.md").is_file()
    assert not list(disturbed.glob("runs/*/failed.json"))
