"""Figure that compares the server's searches: hypervolume of their fronts, and accuracy."""

from collections.abc import Callable, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from f3ocus_jax.report import style
from f3ocus_jax.sweep import looks
from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.intervals import t_interval
from f3ocus_jax.sweep.results import RunResult
from f3ocus_jax.sweep.study import Column, Study

TITLES = {
    "nsga2": "NSGA-II",
    "abc": "ABC",
    "aco": "ACO",
    "sa": "SA",
    "mopso": "MOPSO",
    "exact": "exact front",
}
"""Searches as the paper names them, in its order."""

PERCENT = 100.0

ROW = 0.27
"""Height of a row, in inches."""

Measure = Callable[[RunResult], float]


@style.styled
def draw(study: Study, column: Column, title: str = "") -> Figure | None:
    """Draws hypervolume and accuracy of every search: mean, interval over seeds, and every seed.

    Args:
      study: Results.
      column: Task and family.
      title: Title of the figure.

    Returns:
      A figure with two panels; None for fewer than two searches, among which there is nothing to
      compare.
    """
    rows = searches(study, column)
    if not rows:
        return None
    figure = style.new_figure(7.2, 1.1 + ROW * len(rows))
    left, right = figure.subplots(1, 2, sharey=True)
    _draw_panel(left, list(rows.values()), _volume)
    _draw_panel(right, list(rows.values()), _accuracy)
    left.set_yticks(range(len(rows)), [style.label(name) for name in rows])
    left.set_xlabel("hypervolume of the fronts, mean over rounds")
    right.set_xlabel("test accuracy (%)")
    if title:
        figure.suptitle(title, x=0.01, ha="left")
    return figure


def describe(study: Study, column: Column) -> str:
    """Returns the numbers of the figure, a line per search in its order; "" without searches."""
    return "\n".join(
        f"{name}: hypervolume {_numbers(runs, _volume, 4)}, accuracy {_numbers(runs, _accuracy, 1)}"
        for name, runs in searches(study, column).items()
    )


def searches(study: Study, column: Column) -> Mapping[str, Sequence[RunResult]]:
    """Lists the searches with their runs, in the order of the paper.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      Name to runs; nothing for fewer than two algorithms with fronts.
    """
    found: list[tuple[int, int, str, str, Sequence[RunResult]]] = []
    for place, arm in enumerate(study.arms_of(column)):
        runs = study.runs(column, arm)
        algorithm = runs[0].algorithm
        if algorithm in TITLES and all(run.hypervolume is not None for run in runs):
            order = list(TITLES).index(algorithm)
            found.append((order, place, algorithm, _name(arm, algorithm), runs))
    if len({(algorithm, name) for _, _, algorithm, name, _ in found}) < 2:
        return {}
    return {name: runs for *_, name, runs in sorted(found, key=lambda each: each[:2])}


def _name(arm: Arm, algorithm: str) -> str:
    """Returns the name of a search with what else is set, as in "ABC (published)"."""
    settings = [each.removeprefix("selection.") for each in arm.setting.split()]
    others = [
        each.removeprefix("variant=") for each in settings if each != f"algorithm={algorithm}"
    ]
    return f"{TITLES[algorithm]} ({' '.join(others)})" if others else TITLES[algorithm]


def _volume(run: RunResult) -> float:
    return float("nan") if run.hypervolume is None else run.hypervolume


def _accuracy(run: RunResult) -> float:
    return PERCENT * run.accuracy


def _numbers(runs: Sequence[RunResult], measure: Measure, digits: int) -> str:
    found = t_interval([measure(run) for run in runs])
    return f"{found.mean:.{digits}f} ± {found.half_width:.{digits}f} ({found.n} seeds)"


def _draw_panel(axes: Axes, rows: Sequence[Sequence[RunResult]], measure: Measure) -> None:
    for row, runs in enumerate(rows):
        values = [measure(run) for run in runs]
        looks.draw_row(axes, row, t_interval(values), values)
    looks.finish_rows(axes, len(rows))
    axes.xaxis.set_major_locator(MaxNLocator(5))
