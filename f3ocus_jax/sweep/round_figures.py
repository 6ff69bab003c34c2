"""Figures over rounds: the test metric of every method, and its losses."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from f3ocus_jax.report import style
from f3ocus_jax.sweep import looks
from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.intervals import Interval, t_interval
from f3ocus_jax.sweep.results import RunResult
from f3ocus_jax.sweep.study import Column, Study, column_name

MOST_BANDS = 4
"""Largest number of methods that all have a band; among more, the reference alone has one."""

Curve = tuple[Sequence[int], Sequence[Interval]]
"""(rounds that every seed measured, intervals over seeds)."""


@style.styled
def curves(study: Study, column: Column) -> Figure | None:
    """Draws the mean test metric over rounds of every method, with bands over seeds.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure with one panel; None without rounds. A method with one seed has no band.
    """
    measured = _measured(study, column, lambda run: run.rounds)
    if not measured:
        return None
    figure = style.new_figure(7.2, 4.2)
    axes = figure.subplots()
    _draw(axes, study, measured)
    axes.set_ylabel("test metric, mean over clients (%)")
    looks.finish(figure, axes, _title(study, column, measured))
    return figure


@style.styled
def losses(study: Study, column: Column) -> Figure | None:
    """Draws the training and the test loss over rounds of every method, with bands over seeds.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure with two panels; None without losses.
    """
    trained = _measured(study, column, lambda run: run.train_losses)
    tested = _measured(study, column, lambda run: run.losses)
    if not trained or not tested:
        return None
    figure = style.new_figure(8.6, 3.8)
    left, right = figure.subplots(1, 2, sharex=True)
    for axes, measured, title in (
        (left, trained, "training: mean over local steps and clients"),
        (right, tested, "test: mean over clients"),
    ):
        _draw(axes, study, measured)
        axes.set_title(title, loc="left")
        axes.grid(axis="y")
    left.set_ylabel("loss (nats)")
    figure.suptitle(_title(study, column, tested), x=0.01, ha="left")
    looks.add_legend(figure, right)
    return figure


def _title(study: Study, column: Column, measured: Mapping[Arm, Curve]) -> str:
    bands = "bands: 95 % t-interval"
    if len(measured) > MOST_BANDS:
        bands = f"band: 95 % t-interval of {Arm(study.reference).title}"
    return f"{column_name(column)}: mean over seeds, {bands}"


def _draw(axes: Axes, study: Study, measured: Mapping[Arm, Curve]) -> None:
    """Draws a line per method, that of the reference thicker, and the bands."""
    for arm, (rounds, found) in measured.items():
        look, is_reference = looks.look(study, arm), arm.method == study.reference
        (line,) = axes.plot(
            rounds,
            [each.mean for each in found],
            linestyle=look["linestyle"],
            color=look["color"],
            linewidth=2.2 if is_reference else 1.2,
            zorder=3 if is_reference else 2,
            label=style.label(arm.title),
        )
        if is_reference or len(measured) <= MOST_BANDS:
            low, high = [each.low for each in found], [each.high for each in found]
            axes.fill_between(rounds, low, high, color=line.get_color(), alpha=0.12, linewidth=0)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _measured(
    study: Study, column: Column, values_of: Callable[[RunResult], Sequence[float]]
) -> dict[Arm, Curve]:
    """Returns the curve of every method that has one."""
    found: dict[Arm, Curve] = {}
    for arm in study.arms_of(column):
        values = [values_of(run) for run in study.runs(column, arm)]
        shared = range(min(map(len, values)))
        seeds = {number: [float(each[number]) for each in values] for number in shared}
        whole = {number: each for number, each in seeds.items() if not np.isnan(each).any()}
        if whole:
            found[arm] = list(whole), [t_interval(each) for each in whole.values()]
    return found
