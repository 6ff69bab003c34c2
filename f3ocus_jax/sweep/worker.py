"""Worker of a sweep: claims one run after the other by a lease, and does it or resumes it.

Workers share nothing but the sweep's folder. A lease is a file that is created exclusively and
renewed while its owner lives, so that any number of machines can work on one folder.
"""

import contextlib
import pathlib
import time
import traceback
from collections.abc import Callable

from f3ocus_jax import interrupts
from f3ocus_jax.federation import experiment
from f3ocus_jax.interrupts import Interrupted
from f3ocus_jax.sweep import marks, programs
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import Plan
from f3ocus_jax.sweep.planned import PlannedRun
from tfds_medvqa.common import owner_lock

POLL_SECONDS = 2.0
"""Time between two looks at runs that other workers hold."""

LOG = "log.txt"
"""File in a run's folder with what the run printed."""

Say = Callable[[str], None]


def work(plan: Plan, say: Say = print, *, wait: bool = True) -> None:
    """Does the runs of a sweep that are left, until none is.

    Args:
      plan: Runs of the sweep; those of winners are added once their tuning is finished.
      say: Function that gets a line about every run.
      wait: True to wait for runs that other workers hold, and to take over those of workers that
        died; False to end as soon as there is no other run.
    """
    (plan.workdir / marks.LEASES).mkdir(parents=True, exist_ok=True)
    while True:
        plan = plan.renewed()
        left = [run for run in plan if marks.state_of(run, plan.workdir) is State.LEFT]
        if not left and not plan.waiting:
            return
        # One run at a time, since its end may decide a winner. Where none is left, another worker
        # has just finished the last tuning run.
        if not left or any(_try(run, plan, say) for run in left):
            continue
        if not wait:
            return
        time.sleep(POLL_SECONDS)


def _count(plan: Plan) -> str:
    left = sum(marks.state_of(run, plan.workdir) is State.LEFT for run in plan)
    return f"{len(plan) - left + 1} of {len(plan) + len(plan.undecided)}"


def _try(run: PlannedRun, plan: Plan, say: Say) -> bool:
    """Does a run unless another worker holds it or has done it; returns True if it was done."""
    try:
        with owner_lock.held(marks.lease_of(run, plan.workdir), _ignore):
            if marks.state_of(run, plan.workdir) is not State.LEFT:
                return False
            say(f"[{_count(plan)}] {run}")
            _do(run, run.folder(plan.workdir), say)
            programs.forget_if_many()
            return True
    except owner_lock.HeldError:
        return False


def _do(run: PlannedRun, folder: pathlib.Path, say: Say) -> None:
    """Does a run; its error becomes a mark, and does not stop the worker."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (
            interrupts.restored(),
            (folder / LOG).open("a", encoding="utf-8") as log,
            contextlib.redirect_stdout(log),
        ):
            records = experiment.run(run.config, folder, with_figures=False)
    except Interrupted:
        raise
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        detail = {"error": problem, "kind": type(error).__name__}
        marks.write(folder, marks.FAILED, {**detail, "traceback": traceback.format_exc()})
        say(f"failed: {run}: {problem}")
        return
    rounds = [record.steady_seconds for record in records[1:]]
    compiling = sum(record.compiling_seconds for record in records)
    # A run that was resumed took the seconds of its rounds before, too.
    seconds = max(time.monotonic() - started, sum(rounds) + compiling)
    done = {"seconds": seconds, "compiling": compiling, "rounds": rounds}
    marks.write(folder, marks.FINISHED, done)


def _ignore(line: str) -> None:
    del line
