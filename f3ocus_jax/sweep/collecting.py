"""Results of a sweep's runs for its report, and the runs that have none."""

import dataclasses
import pathlib
from collections.abc import Sequence

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.sweep import marks, report
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import PlannedRun
from f3ocus_jax.sweep.results import MissingRun, RunResult, read_result

REPORT = "report"
"""Folder of the report, below that of a sweep."""


def collect(
    runs: Sequence[PlannedRun], workdir: pathlib.Path
) -> tuple[list[RunResult], list[MissingRun]]:
    """Reads the results of the finished runs.

    Args:
      runs: Runs of the sweep.
      workdir: Folder of the sweep.

    Returns:
      (results, runs that have none, with the reason).
    """
    results, missing = [], []
    for run in runs:
        names = {**dataclasses.asdict(run.cell), "seed": run.seed}
        reason = _reason(run, workdir)
        if reason is None:
            try:
                results.append(read_result(run.folder(workdir), key=run.key, **names))
            except (DamagedError, FileNotFoundError) as error:
                reason = str(error)
        if reason is not None:
            missing.append(MissingRun(**names, reason=reason))
    return results, missing


def _reason(run: PlannedRun, workdir: pathlib.Path) -> str | None:
    """Returns why a run has no result; None if it has one."""
    state = marks.state_of(run, workdir)
    if state is State.FINISHED:
        return None
    if state is State.FAILED:
        return str(marks.read(run, workdir, marks.FAILED).get("error", "failed"))
    return "not run yet"


def write_report(runs: Sequence[PlannedRun], workdir: pathlib.Path, reference: str) -> pathlib.Path:
    """Writes the report of a sweep; returns the path of its page.

    Args:
      runs: Runs of the sweep.
      workdir: Folder of the sweep.
      reference: Method that the others are compared with.
    """
    results, missing = collect(runs, workdir)
    return report.write_report(results, workdir / REPORT, reference, missing)
