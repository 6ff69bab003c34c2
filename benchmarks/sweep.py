"""Seconds of a run alone, of a further run in a worker, and of a sweep by one and two workers.

    python -m benchmarks.sweep [--rounds N] [--seeds N] [--every N] [--json FILE]

The run is `phantom:tiny`. Alone it is one process of `f3ocus train`, with no programs on disk and
with those of the first. In a worker the same run is done for several seeds in one process: the
first compiles, the others are the marginal cost. Its ratio is that to the seconds of the rounds
alone, of which the first of a run is left out where it compiles. Two workers share the cores.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from typing import Any

import numpy as np

from benchmarks import reporting

PACKAGES = ("jax", "jaxlib", "numpy", "tensorflow-datasets")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--every", type=int, default=10, help="rounds between checkpoints")
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(pathlib.Path(folder), given.rounds, given.seeds, given.every)
    summary = summarise(rows, given.seeds)
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, {given.rounds} rounds a run"
    versions = {name: metadata.version(name) for name in PACKAGES}
    print(hardware, versions)
    reporting.show(summary)
    reporting.write(given.json, hardware, versions, rows, summary)


def measure(folder: pathlib.Path, rounds: int, seeds: int, every: int) -> list[dict[str, Any]]:
    """Returns a row per process or run: case, wall seconds, and those of the rounds."""
    shared = (f"--config.data.data_dir={folder / 'data'}", f"--config.federated.rounds={rounds}")
    programs = f"--compilation_cache={folder / 'programs'}"
    rows = []
    cases = (("built anew", "off"), ("no programs", "off"), ("new programs", programs[20:]))
    for case, cache in (*cases, ("kept programs", programs[20:])):
        options = ("--config=phantom:tiny", f"--workdir={folder / case}", *shared)
        seconds = timed("f3ocus_jax.train", *options, f"--compilation_cache={cache}")
        rows.append({"case": f"alone, {case}", "seconds": seconds})
    for workers in (1, 2):
        workdir = folder / f"sweep_{workers}"
        config = write_config(folder, rounds, seeds, every)
        options = (f"--config={config}", f"--workdir={workdir}", f"--workers={workers}", programs)
        seconds = timed("f3ocus_jax.sweep", "work", *options)
        rows.append({"case": f"sweep, {workers} workers", "seconds": seconds})
        for path in sorted(
            workdir.glob("runs/*/finished.json"), key=lambda path: path.stat().st_mtime
        ):
            done = json.loads(path.read_text(encoding="utf-8"))
            rows.append(
                {
                    "case": f"run of {workers} workers",
                    "seconds": done["seconds"],
                    "rounds": done["rounds"],
                }
            )
    return rows


def timed(module: str, *options: str) -> float:
    """Returns the wall seconds of a command; its output is shown if it fails."""
    start = time.perf_counter()
    command = [sys.executable, "-m", module, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
    return time.perf_counter() - start


def write_config(folder: pathlib.Path, rounds: int, seeds: int, every: int) -> pathlib.Path:
    """Writes the config of the sweep, and returns its path."""
    path = folder / "config.py"
    path.write_text(
        "from f3ocus_jax.config import defaults\n"
        "from f3ocus_jax.sweep.settings import SweepConfig\n"
        "def get_config():\n"
        "    sweep = defaults(SweepConfig)\n"
        f"    sweep.seeds = {tuple(range(1, seeds + 1))}\n"
        f"    sweep.settings = {{'federated': {{'rounds': {rounds}}}, "
        f"'checkpoint': {{'every': {every}}}, "
        f"'data': {{'data_dir': {str(folder / 'data')!r}}}}}\n"
        "    return sweep\n",
        encoding="utf-8",
    )
    return path


def summarise(rows: list[dict[str, Any]], seeds: int) -> dict[str, float]:
    """Returns medians and ratios."""
    summary = {row["case"]: row["seconds"] for row in rows if "rounds" not in row}
    done = [row for row in rows if row["case"] == "run of 1 workers"][1:]
    marginal = float(np.median([row["seconds"] for row in done]))
    steady = float(np.median([np.median(row["rounds"]) * len(row["rounds"]) for row in done]))
    summary |= {"further run in a worker": marginal, "its rounds": steady}
    summary["sweep.marginal_ratio"] = marginal / steady
    summary["two workers / one"] = summary["sweep, 2 workers"] / summary["sweep, 1 workers"]
    return summary


if __name__ == "__main__":
    main()
