"""Results of a sweep's runs for its report, and the runs that have none."""

import dataclasses
import pathlib
from collections.abc import Iterable

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.sweep import marks, report, tuning
from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.plan import Plan
from f3ocus_jax.sweep.planned import PlannedRun
from f3ocus_jax.sweep.results import MissingRun, RunResult, read_result
from f3ocus_jax.sweep.tuning_table import TunedArm, Tuning

REPORT = "report"
"""Folder of the report, below that of a sweep."""


def collect(plan: Plan) -> tuple[list[RunResult], list[MissingRun]]:
    """Reads the results of the finished runs, those of tuning apart.

    Args:
      plan: Runs of the sweep.

    Returns:
      (results, runs that have none, with the reason).
    """
    results, missing = _collect((run for run in plan if not run.tunes), plan.workdir)
    missing += [
        MissingRun(**dataclasses.asdict(run.cell), seed=run.seed, reason=run.reason)
        for run in plan.undecided
    ]
    return results, missing


def _collect(
    runs: Iterable[PlannedRun], workdir: pathlib.Path
) -> tuple[list[RunResult], list[MissingRun]]:
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
    return marks.error_of(run, workdir) if state is State.FAILED else "not run yet"


def collect_tuning(plan: Plan) -> Tuning | None:
    """Gathers the candidates of all methods with their results; None without tuning.

    Args:
      plan: Runs of the sweep.
    """
    settings = plan.sweep.tuning
    if not plan.sweep.tunes:
        return None
    arms = [
        TunedArm(
            (each.cell.base, each.cell.family),
            Arm(each.cell.method, each.cell.setting),
            each.decision,
        )
        for each in plan.cells
    ]
    candidates = [tuning.describe(each) for each in tuning.list_candidates(settings)]
    return Tuning(settings.search, candidates, settings.seeds, arms)


def write_report(plan: Plan) -> pathlib.Path:
    """Writes the report of a sweep; returns the path of its page.

    Args:
      plan: Runs of the sweep.
    """
    results, missing = collect(plan)
    folder, reference = plan.workdir / REPORT, plan.sweep.reference
    return report.write_report(results, folder, reference, missing, collect_tuning(plan))
