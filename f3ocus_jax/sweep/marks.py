"""State of a sweep's runs, as files in their folders say it."""

import enum
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.sweep.planned import PlannedRun
from tfds_medvqa.common import whole_file

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
    whole_file.write(folder / name, json.dumps(content, indent=2) + "\n")


def read(run: PlannedRun, workdir: pathlib.Path, name: str) -> dict[str, Any]:
    """Returns the content of a mark; {} if it is absent or cannot be read."""
    try:
        return json.loads((run.folder(workdir) / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def error_of(run: PlannedRun, workdir: pathlib.Path) -> str:
    """Returns the error of a failed run in one line."""
    return str(read(run, workdir, FAILED).get("error", "failed"))


def lease_of(run: PlannedRun, workdir: pathlib.Path) -> pathlib.Path:
    """Returns the lock of a run, which the worker that does it holds."""
    return workdir / LEASES / f"{run.key}.lock"
