"""Sweeps that tune, and runs of them that end at once with given results on validation."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from f3ocus_jax.report import record_files
from f3ocus_jax.sweep import marks
from f3ocus_jax.sweep.plan import Plan, make_plan
from f3ocus_jax.sweep.planned import PlannedRun
from f3ocus_jax.sweep.settings import SweepConfig
from f3ocus_jax.types import RoundRecord
from tests.helpers.sweep_plans import sweep_of

RATES = (1e-3, 2e-3, 4e-3)


def tuned(rates: Sequence[float] = RATES, **changes: Any) -> SweepConfig:
    """A sweep over learning rates; entries of `tuning` replace those of the grid."""
    tuning = {
        "search": "grid",
        "values": {"training": {"learning_rate": tuple(rates)}},
        **changes.pop("tuning", {}),
    }
    return sweep_of(**{f"tuning.{name}": value for name, value in tuning.items()}, **changes)


def finish(run: PlannedRun, workdir: pathlib.Path, *validation: float) -> None:
    """Leaves the files of a finished run: its results on validation, round by round."""
    folder = run.folder(workdir)
    records = [
        RoundRecord(number, None, None, [], None, {}, validation=value)
        for number, value in enumerate(validation)
    ]
    record_files.rewrite_records(folder / "records.jsonl", records)
    marks.write(folder, marks.FINISHED, {"seconds": 9.0, "rounds": []})


def fail(run: PlannedRun, workdir: pathlib.Path, error: str) -> None:
    """Leaves the files of a failed run."""
    marks.write(run.folder(workdir), marks.FAILED, {"error": error})


def finish_tuning(
    sweep: SweepConfig, workdir: pathlib.Path, results: Mapping[float, float]
) -> Plan:
    """Ends all tuning runs that are left with results by learning rate; returns the new plan."""
    for run in make_plan(sweep, workdir):
        if run.tunes and marks.state_of(run, workdir) is marks.State.LEFT:
            finish(run, workdir, results[run.config.training.learning_rate])
    return make_plan(sweep, workdir)


def final(plan: Plan) -> list[PlannedRun]:
    """The runs of winners."""
    return [run for run in plan if not run.tunes]
