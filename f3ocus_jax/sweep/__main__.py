"""Command of sweeps: f3ocus sweep [plan|work|status|report] --config CONFIG --workdir DIR."""

import sys
from collections.abc import Callable, Mapping

import ml_collections
from absl import flags

from f3ocus_jax import _command_line
from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.sweep import collecting, hours, launching, marks, overview, sweep_file
from f3ocus_jax.sweep.plan import Plan, make_plan
from f3ocus_jax.sweep.settings import SweepConfig

WORKERS = flags.DEFINE_integer(
    "workers", 1, "processes on this machine, each on cores of its own", lower_bound=1
)
RETRY = flags.DEFINE_bool("retry", False, "do failed runs once more")
HOURS = flags.DEFINE_bool(
    "hours", False, "plan: print the counted operations of the runs and the hours they would take"
)
UTILISATION = flags.DEFINE_list(
    "utilisation",
    [str(share) for share in hours.UTILISATIONS],
    "shares of a machine's peak that hours are reckoned with, an assumption",
)
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
    sweep = sweep_file.read(workdir) if raw is None else parsing.parse(SweepConfig, raw)
    plan = make_plan(sweep, workdir)
    if raw is not None:
        sweep_file.write(sweep, workdir)
    ACTIONS[action](plan)


def _plan(plan: Plan) -> None:
    if HOURS.value:
        lines = hours.hour_lines(plan.with_waiting(), _utilisations())
    else:
        lines = overview.plan_lines(plan, WORKERS.value)
    print("\n".join(lines))


def _utilisations() -> list[float]:
    """Returns the shares of --utilisation."""
    given = UTILISATION.value
    try:
        shares = [float(text) for text in given]
    except ValueError:
        shares = []
    if not shares or not all(0 < share <= 1 for share in shares):
        raise ConfigError(f"--utilisation={','.join(given)}, must be shares above 0 and up to 1")
    return shares


def _work(plan: Plan) -> None:
    if RETRY.value:
        for run in plan:
            (run.folder(plan.workdir) / marks.FAILED).unlink(missing_ok=True)
        plan = make_plan(plan.sweep, plan.workdir)  # A candidate that failed may win now.
    if LAUNCH.value:
        print("\n".join(launching.launch(LAUNCH.value, plan.workdir, WORKERS.value)))
    elif WORKERS.value > 1:
        launching.work_here(plan.workdir, WORKERS.value)
    else:
        launching.work_alone(plan, wait=WAIT.value)


def _status(plan: Plan) -> None:
    print("\n".join(overview.status_lines(plan)))


def _report(plan: Plan) -> None:
    print(f"report: {collecting.write_report(plan)}")


def _all(plan: Plan) -> None:
    _work(plan)
    if not LAUNCH.value:
        plan = make_plan(plan.sweep, plan.workdir)
        _status(plan)
        _report(plan)


ACTIONS: Mapping[str, Callable[[Plan], None]] = {
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
