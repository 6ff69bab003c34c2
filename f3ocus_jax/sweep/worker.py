"""Worker of a sweep: claims one run after the other by a lease, and does it or resumes it.

Workers share nothing but the sweep's folder. A lease is a file that is created exclusively and
renewed while its owner lives, so that any number of machines can work on one folder.
"""

import contextlib
import pathlib
import time
import traceback
from collections.abc import Callable, Sequence

from f3ocus_jax.federation import experiment
from f3ocus_jax.interrupts import Interrupted
from f3ocus_jax.sweep import marks
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import PlannedRun
from tfds_medvqa.common import owner_lock

POLL_SECONDS = 2.0
"""Time between two looks at runs that other workers hold."""

LOG = "log.txt"
"""File in a run's folder with what the run printed."""

Say = Callable[[str], None]


def work(
    runs: Sequence[PlannedRun], workdir: pathlib.Path, say: Say = print, *, wait: bool = True
) -> None:
    """Does the runs of a sweep that are left, until none is.

    Args:
      runs: All runs of the sweep.
      workdir: Folder of the sweep.
      say: Function that gets a line about every run.
      wait: True to wait for runs that other workers hold, and to take over those of workers that
        died; False to end as soon as there is no other run.
    """
    (workdir / marks.LEASES).mkdir(parents=True, exist_ok=True)
    left = list(runs)
    while left := [run for run in left if marks.state_of(run, workdir) is State.LEFT]:
        claimed = [run for run in left if _try(run, runs, workdir, say)]
        if claimed:
            continue
        if not wait:
            return
        time.sleep(POLL_SECONDS)


def _count(runs: Sequence[PlannedRun], workdir: pathlib.Path) -> str:
    left = sum(marks.state_of(run, workdir) is State.LEFT for run in runs)
    return f"{len(runs) - left + 1} of {len(runs)}"


def _try(run: PlannedRun, runs: Sequence[PlannedRun], workdir: pathlib.Path, say: Say) -> bool:
    """Does a run unless another worker holds it or has done it; returns True if it was done."""
    try:
        with owner_lock.held(marks.lease_of(run, workdir), _ignore):
            if marks.state_of(run, workdir) is not State.LEFT:
                return False
            say(f"[{_count(runs, workdir)}] {run}")
            _do(run, run.folder(workdir), say)
            return True
    except owner_lock.HeldError:
        return False


def _do(run: PlannedRun, folder: pathlib.Path, say: Say) -> None:
    """Does a run; its error becomes a mark, and does not stop the worker."""
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with (folder / LOG).open("a", encoding="utf-8") as log, contextlib.redirect_stdout(log):
            records = experiment.run(run.config, folder, with_figures=False)
    except Interrupted:
        raise
    except Exception as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        detail = {"error": problem, "kind": type(error).__name__}
        marks.write(folder, marks.FAILED, {**detail, "traceback": traceback.format_exc()})
        say(f"failed: {run}: {problem}")
        return
    rounds = [sum(record.seconds.values()) for record in records[1:]]
    # A run that was resumed took the seconds of its rounds before, too.
    seconds = max(time.monotonic() - started, sum(rounds))
    marks.write(folder, marks.FINISHED, {"seconds": seconds, "rounds": rounds})


def _ignore(line: str) -> None:
    del line
