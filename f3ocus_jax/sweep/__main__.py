"""Command of sweeps: f3ocus sweep [plan|work|status|report] --config CONFIG --workdir DIR."""

import json
import pathlib
import sys
from collections.abc import Callable, Mapping

import ml_collections
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.sweep import collecting, launching, marks, overview
from f3ocus_jax.sweep.plan import PlannedRun, make_plan
from f3ocus_jax.sweep.settings import SweepConfig

SWEEP_FILE = "sweep.json"
"""File in a sweep's folder with its settings."""

WORKERS = flags.DEFINE_integer(
    "workers", 1, "processes on this machine, each on cores of its own", lower_bound=1
)
RETRY = flags.DEFINE_bool("retry", False, "do failed runs once more")
WAIT = flags.DEFINE_bool("wait", True, "wait for runs that other workers hold")
LAUNCH = flags.DEFINE_enum(
    "launch", None, launching.CLUSTERS, "start the workers as jobs of this scheduler"
)


def main(action: str, raw: ml_collections.ConfigDict | None) -> None:
    """Does one action on a sweep.

    Args:
      action: A key of `ACTIONS`.
      raw: Settings of the config file, with the command line's overrides; None for those that the
        sweep's folder holds.
    """
    workdir = _command_line.prepare_workdir()
    sweep = _read(workdir) if raw is None else parsing.parse(SweepConfig, raw)
    runs = make_plan(sweep, workdir)
    if raw is not None:
        marks.write(workdir, SWEEP_FILE, parsing.flatten(sweep))
    ACTIONS[action](sweep, runs, workdir)


def _read(workdir: pathlib.Path) -> SweepConfig:
    path = workdir / SWEEP_FILE
    if not path.is_file():
        raise ConfigError(f"{workdir} holds no sweep (no {SWEEP_FILE}); give its --config")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error}); give the sweep's --config") from error
    return parsing.parse(SweepConfig, parsing.complete(SweepConfig(), raw))


def _plan(sweep: SweepConfig, runs: list[PlannedRun], workdir: pathlib.Path) -> None:
    del sweep
    print("\n".join(overview.plan_lines(runs, workdir, WORKERS.value)))


def _work(sweep: SweepConfig, runs: list[PlannedRun], workdir: pathlib.Path) -> None:
    if RETRY.value:
        for run in runs:
            (run.folder(workdir) / marks.FAILED).unlink(missing_ok=True)
    if LAUNCH.value:
        print("\n".join(launching.launch(LAUNCH.value, workdir, WORKERS.value)))
    elif WORKERS.value > 1:
        launching.work_here(workdir, WORKERS.value)
    else:
        launching.work_alone(sweep, runs, workdir, wait=WAIT.value)


def _status(sweep: SweepConfig, runs: list[PlannedRun], workdir: pathlib.Path) -> None:
    del sweep
    print("\n".join(overview.status_lines(runs, workdir)))


def _report(sweep: SweepConfig, runs: list[PlannedRun], workdir: pathlib.Path) -> None:
    print(f"report: {collecting.write_report(runs, workdir, sweep.reference)}")


def _all(sweep: SweepConfig, runs: list[PlannedRun], workdir: pathlib.Path) -> None:
    _work(sweep, runs, workdir)
    if not LAUNCH.value:
        _status(sweep, runs, workdir)
        _report(sweep, runs, workdir)


ACTIONS: Mapping[str, Callable[[SweepConfig, list[PlannedRun], pathlib.Path], None]] = {
    "": _all,
    "plan": _plan,
    "work": _work,
    "status": _status,
    "report": _report,
}
"""Actions by the first argument; without one the runs are done and reported."""


def run() -> None:
    """Runs the command; the action is the first argument, before any option."""
    action = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else ""
    if action not in ACTIONS:
        known = ", ".join(filter(None, ACTIONS))
        _command_line.stop(f"sweep {action!r} is unknown; choose {known}, or none for all of it")
    _command_line.run_with_config(
        lambda raw: main(action, raw), lambda: SweepConfig, required=False
    )


if __name__ == "__main__":
    run()
