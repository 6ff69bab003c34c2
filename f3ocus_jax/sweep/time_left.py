"""Time that the runs of a sweep still take, from the seconds of those that are finished."""

import dataclasses
import pathlib
import statistics
from collections.abc import Iterable, Sequence

from f3ocus_jax.sweep import marks
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.planned import Cell, PlannedRun
from f3ocus_jax.sweep.results import RECORDS_FILE


@dataclasses.dataclass(frozen=True)
class Finished:
    """What a finished run took.

    Attributes:
      cell: Its cell.
      steady: Seconds without compiling.
      compiling: Seconds of compiling; 0 for runs from before it was measured.
    """

    cell: Cell
    steady: float
    compiling: float


def seconds_left(
    runs: Sequence[PlannedRun],
    workdir: pathlib.Path,
    workers: int = 1,
    undecided: Sequence[Cell] = (),
) -> float | None:
    """Estimates the time that workers need for the runs that are left.

    A worker takes the runs in their order, each as soon as it has ended the one before. Runs of one
    cell use the same programs, so that only the first of them compiles.

    Args:
      runs: Runs of a sweep.
      workdir: Folder of the sweep.
      workers: Number of workers.
      undecided: Cells of further runs, whose settings are not known yet.

    Returns:
      Seconds; None if no run is finished. A run takes without compiling the median of the finished
      runs of its cell, or else of its base and family, or else of all, times the share of its
      rounds that is left. The first run of a cell compiles the median of the finished cells.
    """
    done = [_read(run, workdir) for run in runs if marks.state_of(run, workdir) is State.FINISHED]
    if not done:
        return None
    compiled = {each.cell for each in done}
    once = statistics.median(
        max(each.compiling for each in done if each.cell == cell) for cell in compiled
    )
    left = [
        (run.cell, _share_left(run, workdir))
        for run in runs
        if marks.state_of(run, workdir) is State.LEFT
    ]
    ends = [0.0] * workers
    for cell, share in [*left, *((cell, 1.0) for cell in undecided)]:
        first = min(range(workers), key=ends.__getitem__)
        ends[first] += share * _steady_seconds(cell, done) + (once if cell not in compiled else 0.0)
        compiled.add(cell)
    return max(ends)


def _read(run: PlannedRun, workdir: pathlib.Path) -> Finished:
    mark = marks.read(run, workdir, marks.FINISHED)
    compiling = float(mark.get("compiling", 0.0))
    return Finished(run.cell, float(mark["seconds"]) - compiling, compiling)


def _share_left(run: PlannedRun, workdir: pathlib.Path) -> float:
    """Returns the share of a run's rounds that have no record yet."""
    try:
        records = (run.folder(workdir) / RECORDS_FILE).read_bytes().count(b"\n")
    except OSError:
        return 1.0
    rounds = run.config.federated.rounds
    return max(0, rounds - max(0, records - 1)) / rounds if rounds else 1.0


def _steady_seconds(cell: Cell, done: Iterable[Finished]) -> float:
    same = [each.steady for each in done if each.cell == cell]
    kind = (cell.base, cell.family)
    alike = [each.steady for each in done if (each.cell.base, each.cell.family) == kind]
    return statistics.median(same or alike or [each.steady for each in done])
