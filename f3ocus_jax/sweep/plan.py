"""Plan of a sweep: its runs, and which of them wait for the winners of tuning."""

import dataclasses
import itertools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.sweep import planned, run_config, tuning, winners
from f3ocus_jax.sweep.planned import Cell, PlannedRun, UndecidedRun
from f3ocus_jax.sweep.settings import SweepConfig, by_name
from f3ocus_jax.sweep.winners import Decision, Trial

ON_VALIDATION = {"evaluation.test": False}
"""Settings of a tuning run, which leaves the test splits out."""


@dataclasses.dataclass(frozen=True)
class TunedCell:
    """Cell with its candidates.

    Attributes:
      cell: Cell of the report.
      changes: Settings of the cell by dotted name, without the tuned ones.
      trials: Candidates with the runs that try them; empty in a sweep without tuning.
      decision: Result of the tuning; None while it goes on, and without tuning.
    """

    cell: Cell
    changes: Mapping[str, Any]
    trials: tuple[Trial, ...]
    decision: Decision | None = None


@dataclasses.dataclass(frozen=True)
class Plan(Sequence[PlannedRun]):
    """Runs of a sweep whose settings are known, tuning runs first.

    Attributes:
      sweep: Settings of the sweep.
      workdir: Folder of the sweep.
      cells: Cells with their candidates and winners.
      runs: Runs whose settings are known, every one once.
      undecided: Runs that wait for the winner of their cell, or will never have one.
    """

    sweep: SweepConfig
    workdir: pathlib.Path
    cells: tuple[TunedCell, ...]
    runs: tuple[PlannedRun, ...]
    undecided: tuple[UndecidedRun, ...] = ()

    def __len__(self) -> int:
        return len(self.runs)

    @overload
    def __getitem__(self, index: int) -> PlannedRun: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[PlannedRun]: ...

    def __getitem__(self, index: int | slice) -> PlannedRun | Sequence[PlannedRun]:
        return self.runs[index]

    @property
    def waiting(self) -> list[UndecidedRun]:
        """Runs whose settings will be known once the tuning of their cell is finished."""
        return [run for run in self.undecided if not run.failed]

    def with_waiting(self) -> list[PlannedRun]:
        """Returns all runs, those that wait with the settings of their cell's first candidate."""
        tried = {
            each.cell: {**each.changes, **each.trials[0].settings}
            for each in self.cells
            if each.trials
        }
        stand_ins = [
            _plan_run(self.sweep, run.cell, tried[run.cell], run.seed, self.workdir)
            for run in self.waiting
        ]
        return [*self.runs, *stand_ins]

    def renewed(self) -> "Plan":
        """Returns the plan with the winners that are known now; those known before stay."""
        if not self.waiting:
            return self
        cells = [
            dataclasses.replace(each, decision=winners.decide(each.trials, self.workdir))
            if each.decision is None
            else each
            for each in self.cells
        ]
        return self if tuple(cells) == self.cells else _with_winners(self, cells)


def make_plan(sweep: SweepConfig, workdir: pathlib.Path) -> Plan:
    """Lists the runs of a sweep, every one once, seeds outermost.

    In a sweep with tuning the plan depends on the files of finished tuning runs and on nothing
    else, so that all workers come to the same winners.

    Args:
      sweep: Settings of the sweep.
      workdir: Folder of the sweep.

    Returns:
      The runs: of the first seed those of all cells, then of the next.

    Raises:
      ConfigError: if a config, a setting or a value is impossible; names the run.
    """
    candidates = tuning.list_candidates(sweep.tuning)
    cells = [
        TunedCell(cell, changes, _trials(sweep, cell, changes, candidates, workdir))
        for cell, changes in _cells(sweep)
    ]
    plan = _with_winners(Plan(sweep, workdir, (), ()), cells)
    return plan.renewed()


def _with_winners(plan: Plan, cells: Sequence[TunedCell]) -> Plan:
    """Returns the plan of cells whose decisions are known or not."""
    sweep = plan.sweep
    known = {(run.cell, run.seed): run for run in plan if not run.tunes}
    trials = [trial for each in cells for trial in each.trials]
    runs = [trial.runs[i] for i in range(len(sweep.tuning.seeds)) for trial in trials]
    undecided = []
    for seed, each in itertools.product(sweep.seeds, cells):
        made = known.get((each.cell, seed)) or _final_run(plan, each, seed)
        if isinstance(made, PlannedRun):
            runs.append(made)
        else:
            undecided.append(made)
    distinct: dict[str, PlannedRun] = {}
    for run in runs:
        distinct.setdefault(run.key, run)
    return Plan(sweep, plan.workdir, tuple(cells), tuple(distinct.values()), tuple(undecided))


def _trials(
    sweep: SweepConfig,
    cell: Cell,
    changes: Mapping[str, Any],
    candidates: Sequence[Mapping[str, Any]],
    workdir: pathlib.Path,
) -> tuple[Trial, ...]:
    return tuple(
        Trial(
            text := tuning.describe(candidate),
            candidate,
            tuple(
                _plan_run(
                    *(sweep, cell, {**changes, **candidate, **ON_VALIDATION}, seed, workdir),
                    candidate=text,
                    tunes=True,
                )
                for seed in sweep.tuning.seeds
            ),
        )
        for candidate in candidates
    )


def _final_run(plan: Plan, each: TunedCell, seed: int) -> PlannedRun | UndecidedRun:
    """Returns a run of a cell that is reported, with the settings of the winner."""
    if not each.trials:
        return _plan_run(plan.sweep, each.cell, each.changes, seed, plan.workdir)
    decision = each.decision
    if decision is None:
        return UndecidedRun(each.cell, seed, "waits for tuning", failed=False)
    if decision.winner is None:
        return UndecidedRun(each.cell, seed, decision.problem, failed=True)
    trial = each.trials[decision.winner]
    changes = {**each.changes, **trial.settings}
    return _plan_run(plan.sweep, each.cell, changes, seed, plan.workdir, candidate=trial.text)


def _plan_run(
    sweep: SweepConfig,
    cell: Cell,
    changes: Mapping[str, Any],
    seed: int,
    workdir: pathlib.Path,
    *,
    candidate: str = "",
    tunes: bool = False,
) -> PlannedRun:
    try:
        config = run_config.read_config(sweep, cell, changes, seed, workdir)
    except ConfigError as error:
        shown = planned.describe(cell, candidate, seed, tunes=tunes)
        raise ConfigError(f"run {shown}: {error}") from error
    key = run_config.hash_settings(config, sweep.foundation)
    return PlannedRun(key, cell, seed, config, candidate, tunes)


def _cells(sweep: SweepConfig) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Yields every cell once, with its changed settings."""
    values = by_name(sweep.grid)
    grid = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
    rows = [by_name(row) for row in sweep.rows] or [{}]
    shared = by_name(sweep.settings)
    seen = set()
    for base, family, method, chosen, row in itertools.product(
        sweep.bases, sweep.families or ("",), sweep.methods, grid, rows
    ):
        own = {**chosen, **row}
        cell = Cell(base, family, method, tuning.describe(own))
        if cell not in seen:
            seen.add(cell)
            yield cell, {**shared, **own}
