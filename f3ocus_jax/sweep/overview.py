"""Lines about a sweep: its runs, which of them are done, who works, and the time that is left."""

import collections
import pathlib
import sys
from collections.abc import Sequence

from f3ocus_jax.report.progress import format_duration
from f3ocus_jax.sweep import collecting, marks, time_left
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import Plan
from tfds_medvqa.common import owner_lock
from tfds_medvqa.common.printable import printable


def plan_lines(plan: Plan, workers: int) -> list[str]:
    """Returns the plan: every run with its state, the time they take, and the command of a worker.

    Args:
      plan: Runs of the sweep.
      workers: Number of workers on which the time is reckoned.
    """
    lines = [f"{run.key}  {marks.state_of(run, plan.workdir):<8}  {run}" for run in plan]
    lines += [
        f"{'':<16}  {State.FAILED if run.failed else 'waits':<8}  {run}: {run.reason}"
        for run in plan.undecided
    ]
    command = (
        f"{pathlib.Path(sys.executable).name} -m f3ocus_jax.sweep work --workdir={plan.workdir}"
    )
    return [
        *lines,
        *_counts(plan),
        _time(plan, workers),
        f"a worker, on any machine that sees this folder: {command}",
    ]


def status_lines(plan: Plan) -> list[str]:
    """Returns what is done, failed, worked on and left, and the time that is left.

    Args:
      plan: Runs of the sweep.
    """
    lines = [
        f"{run}: {owner}"
        for run in plan
        if (owner := owner_lock.owner_of(marks.lease_of(run, plan.workdir))) is not None
    ]
    workers = max(1, len(lines))
    lines += [
        f"failed: {run}: {printable(marks.error_of(run, plan.workdir))}"
        for run in plan
        if marks.state_of(run, plan.workdir) is State.FAILED
    ]
    lines += [f"failed: {run}: {printable(run.reason)}" for run in plan.undecided if run.failed]
    return [*lines, *_counts(plan), _time(plan, workers)]


def _counts(plan: Plan) -> list[str]:
    """Returns the numbers of runs by state, those of tuning apart."""
    undecided = [State.FAILED if run.failed else State.LEFT for run in plan.undecided]
    final = [*(marks.state_of(run, plan.workdir) for run in plan if not run.tunes), *undecided]
    tuning = collecting.collect_tuning(plan)
    if tuning is None:
        return [_count("runs", final)]
    tried = [marks.state_of(run, plan.workdir) for run in plan if run.tunes]
    waiting = f", {len(plan.waiting)} wait for tuning" if plan.waiting else ""
    return [
        f"{_count('tuning runs', tried)}; {tuning.budget}",
        f"{_count('runs of the winners', final)}{waiting}",
    ]


def _count(noun: str, states: Sequence[State]) -> str:
    counts = collections.Counter(states)
    return f"{len(states)} {noun}: {', '.join(f'{counts[state]} {state}' for state in State)}"


def _time(plan: Plan, workers: int) -> str:
    undecided = [run.cell for run in plan.waiting]
    seconds = time_left.seconds_left(plan, plan.workdir, workers, undecided)
    if seconds is None:
        return "time left: unknown until the first run is finished"
    by = f"{workers} worker{'s' if workers > 1 else ''}"
    return f"time left: {format_duration(seconds)} with {by}, from the runs that are finished"
