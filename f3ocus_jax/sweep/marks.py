"""State of a sweep's runs, as files in their folders say it."""

import enum
import json
import pathlib
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from f3ocus_jax.sweep.plan import Cell, PlannedRun

FINISHED, FAILED = "finished.json", "failed.json"
LEASES = "leases"
"""Folder of the locks of runs, below that of a sweep."""


class State(enum.StrEnum):
    """State of a run."""

    FINISHED = "finished"
    FAILED = "failed"
    LEFT = "left"


def state_of(run: PlannedRun, workdir: pathlib.Path) -> State:
    """Returns the state of a run; one that is being worked on is left."""
    folder = run.folder(workdir)
    if (folder / FINISHED).is_file():
        return State.FINISHED
    return State.FAILED if (folder / FAILED).is_file() else State.LEFT


def write(folder: pathlib.Path, name: str, content: Mapping[str, Any]) -> None:
    """Writes a mark in one step: a reader finds all of it or none."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{name}.tmp"
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(folder / name)


def read(run: PlannedRun, workdir: pathlib.Path, name: str) -> dict[str, Any]:
    """Returns the content of a mark; {} if it is absent or cannot be read."""
    try:
        return json.loads((run.folder(workdir) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def lease_of(run: PlannedRun, workdir: pathlib.Path) -> pathlib.Path:
    """Returns the lock of a run, which the worker that does it holds."""
    return workdir / LEASES / f"{run.key}.lock"


def seconds_left(runs: Sequence[PlannedRun], workdir: pathlib.Path) -> float | None:
    """Estimates the time that one worker needs for the runs that are left.

    Args:
      runs: Runs of a sweep.
      workdir: Folder of the sweep.

    Returns:
      Seconds: for each run that is left the median of the finished runs of its cell, or else of its
      base and family, or else of all; None if no run is finished.
    """
    measured = {
        run.key: float(read(run, workdir, FINISHED)["seconds"])
        for run in runs
        if state_of(run, workdir) is State.FINISHED
    }
    if not measured:
        return None
    left = [run for run in runs if state_of(run, workdir) is State.LEFT]
    return sum(_expected(run.cell, runs, measured) for run in left)


def _expected(cell: Cell, runs: Iterable[PlannedRun], measured: Mapping[str, float]) -> float:
    done = [(run.cell, measured[run.key]) for run in runs if run.key in measured]
    same = [seconds for other, seconds in done if other == cell]
    alike = [
        seconds for other, seconds in done if (other.base, other.family) == (cell.base, cell.family)
    ]
    return statistics.median(same or alike or [seconds for _, seconds in done])
