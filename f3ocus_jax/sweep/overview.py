"""Lines about a sweep: its runs, which of them are done, who works, and the time that is left."""

import collections
import pathlib
import sys
from collections.abc import Sequence

from f3ocus_jax.report.progress import format_duration
from f3ocus_jax.sweep import marks
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import PlannedRun
from tfds_medvqa.common import owner_lock
from tfds_medvqa.common.printable import printable


def plan_lines(runs: Sequence[PlannedRun], workdir: pathlib.Path, workers: int) -> list[str]:
    """Returns the plan: every run with its state, the time they take, and the command of a worker.

    Args:
      runs: Runs of the sweep.
      workdir: Folder of the sweep.
      workers: Number of workers on which the time is reckoned.
    """
    lines = [f"{run.key}  {marks.state_of(run, workdir):<8}  {run}" for run in runs]
    command = f"{pathlib.Path(sys.executable).name} -m f3ocus_jax.sweep work --workdir={workdir}"
    return [
        *lines,
        _counts(runs, workdir),
        _time(runs, workdir, workers),
        f"a worker, on any machine that sees this folder: {command}",
    ]


def status_lines(runs: Sequence[PlannedRun], workdir: pathlib.Path) -> list[str]:
    """Returns what is done, failed, worked on and left, and the time that is left.

    Args:
      runs: Runs of the sweep.
      workdir: Folder of the sweep.
    """
    lines = [
        f"{run}: {owner}"
        for run in runs
        if (owner := owner_lock.owner_of(marks.lease_of(run, workdir))) is not None
    ]
    workers = max(1, len(lines))
    lines += [
        f"failed: {run}: {printable(marks.read(run, workdir, marks.FAILED).get('error', ''))}"
        for run in runs
        if marks.state_of(run, workdir) is State.FAILED
    ]
    return [*lines, _counts(runs, workdir), _time(runs, workdir, workers)]


def _counts(runs: Sequence[PlannedRun], workdir: pathlib.Path) -> str:
    counts = collections.Counter(marks.state_of(run, workdir) for run in runs)
    states = ", ".join(f"{counts[state]} {state}" for state in State)
    return f"{len(runs)} runs: {states}"


def _time(runs: Sequence[PlannedRun], workdir: pathlib.Path, workers: int) -> str:
    seconds = marks.seconds_left(runs, workdir)
    if seconds is None:
        return "time left: unknown until the first run is finished"
    by = f"{workers} worker{'s' if workers > 1 else ''}"
    left = format_duration(seconds / workers)
    return f"time left: {left} with {by}, from the runs that are finished"
