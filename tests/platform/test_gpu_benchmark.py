"""`benchmarks/gpu.sh`: its parts one after the other, whatever becomes of each."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY

SCRIPT = REPOSITORY / "benchmarks" / "gpu.sh"
PARTS = re.findall(r"^part (\d+) (\w+)(?: (\w+))?$", SCRIPT.read_text(), re.MULTILINE)


def run(folder, *options, **environment):
    return subprocess.run(
        [SCRIPT, folder, *options],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_parts_fit_into_ten_minutes():
    assert len(PARTS) == 10
    assert sum(int(seconds) for seconds, *_ in PARTS) <= 600


def test_every_part_is_a_module():
    modules = {path.stem for path in SCRIPT.with_suffix("").glob("*.py")}
    assert {module for _, module, _ in PARTS} == modules - {"lines", "models"}


def test_a_part_that_fails_does_not_lose_the_others(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "called $*"\ncase "$*" in *importance*) exit 3;; esac\n')
    python.chmod(0o700)
    process = run(tmp_path / "out", "--tiny", PYTHON=str(python))
    assert process.returncode == 3
    called = re.findall(r"^called -m benchmarks\.gpu\.(.*)$", log(tmp_path), re.MULTILINE)
    options = f"--out {tmp_path / 'out'} --tiny"
    expected = [" ".join(filter(None, (*part, options))) for _, *part in PARTS]
    assert called == expected
    assert process.stdout.count("status 3 ") == 3
    assert process.stdout.count("status 0 ") == 7


def test_a_part_that_takes_too_long_is_ended(tmp_path):
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\ncase "$*" in *attention*) exec sleep 1000;; esac\n')
    python.chmod(0o700)
    limit = tmp_path / "timeout"  # of a second, whatever the part's own
    real, given = shutil.which("timeout"), tmp_path / "limits"
    limit.write_text(f'#!/bin/sh\necho "$2" >> {given}\nshift 2\nexec {real} 1 "$@"\n')
    limit.chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    process = run(tmp_path / "out", PYTHON=str(python), PATH=path, LONGER="3")
    assert process.returncode == 1
    assert [int(each) for each in given.read_text().split()] == [3 * int(part[0]) for part in PARTS]
    assert "attention  status 124 " in process.stdout


def log(folder):
    return (folder / "out" / "log").read_text()


@pytest.mark.slow
def test_all_parts_run_on_a_cpu_at_tiny_sizes(tmp_path):
    process = run(tmp_path / "out", "--tiny", PYTHON=sys.executable, LONGER="20")
    assert process.returncode == 0, log(tmp_path)
    (results,) = (tmp_path / "out").glob("*.jsonl")
    assert results.name == "cpu.jsonl"
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert {row["part"] for row in rows} == {module for _, module, _ in PARTS}
    models = {(row["part"], row["model"]) for row in rows if "examples" in row}
    assert models == {(module, model) for _, module, model in PARTS if model}
    assert all(row["tiny"] and row["hardware"] == "cpu" and row["versions"]["jax"] for row in rows)
    scores = [row for row in rows if row["part"] == "importance"]
    assert all(row["converged"] and row["examples"] == 16 for row in scores)
    jvps = [row for row in rows if row.get("pass") == "jvp" and "error" not in row]
    assert jvps
    assert all(row["relative_error"] < 0.02 for row in jvps)
    rounds = [row for row in rows if row["part"] == "federation" and "round" in row]
    assert [(row["round"], row["clients"]) for row in rounds] == [(0, 3), (1, 3), (2, 3), (3, 3)]
