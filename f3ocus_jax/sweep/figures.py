"""Figures of a sweep: accuracy against costs, layer picks of every method, and all the others."""

import math
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from f3ocus_jax.report import style
from f3ocus_jax.sweep import (
    feature_figure,
    layer_use_figures,
    looks,
    rank_diagram,
    round_figures,
    search_figure,
)
from f3ocus_jax.sweep.arms import PEFT, Arm
from f3ocus_jax.sweep.intervals import Interval
from f3ocus_jax.sweep.study import Column, Study, column_name

COSTS = (
    ("megabits_total", "MBit per client and round (layers, head, scores)"),
    ("gigaflops_total", "GFLOP per client and round (training and scoring)"),
)
"""Costs of the panels of `costs`, with the labels of their axes."""


def write_all(study: Study, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes every figure that a study has data for, as PNG and SVG.

    Args:
      study: Results.
      folder: Output folder; created if absent.

    Returns:
      The files written, in the order of the report.
    """
    drawn: list[tuple[str, Figure | None]] = []
    for number, column in enumerate(study.columns, start=1):
        for name, draw in FIGURES.items():
            drawn.append((f"{name}_{number}", draw(study, column)))
    drawn.append(("critical_difference", rank_diagram.draw(study)))
    return [
        style.save(figure, pathlib.Path(folder) / f"{name}{ending}")
        for name, figure in drawn
        if figure is not None
        for ending in (".png", ".svg")
    ]


@style.styled
def costs(study: Study, column: Column) -> Figure | None:
    """Draws accuracy against traffic and against computation, with the Pareto front over methods.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure with one panel per cost that is known; None if none is.
    """
    points = [(name, text, _cost_points(study, column, name)) for name, text in COSTS]
    known = [(text, found) for _, text, found in points if found]
    if not known:
        return None
    figure = style.new_figure(4.2 * len(known) + 1.8, 4.0)
    panels = np.atleast_1d(figure.subplots(1, len(known), sharey=True))
    for axes, (text, found) in zip(panels, known, strict=True):
        _draw_costs(axes, study, found)
        axes.set_xlabel(text)
    panels[0].set_ylabel("accuracy (%)")
    looks.finish(figure, panels[0], f"{column_name(column)}: bars: 95 % t-interval over seeds")
    return figure


@style.styled
def picks(study: Study, column: Column) -> Figure | None:
    """Draws which layers each method trains: the share of clients and rounds, by layer.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure with a row per method that selects layers; None where no choice is recorded.
    """
    shares = {
        arm: np.mean([run.picks for run in study.runs(column, arm)], axis=0)
        for arm in study.arms_of(column)
        if arm.method not in PEFT
        and len({len(run.picks) for run in study.runs(column, arm)}) == 1
        and study.runs(column, arm)[0].picks
    }
    layers = max((len(each) for each in shares.values()), default=0)
    shares = {arm: each for arm, each in shares.items() if len(each) == layers}
    if not shares:
        return None
    figure = style.new_figure(7.2, 1.2 + 0.27 * len(shares))
    axes = figure.subplots()
    values = np.array(list(shares.values()))
    image = axes.imshow(values, cmap="Blues", vmin=0, aspect="auto")
    axes.set_yticks(range(len(shares)), [style.label(arm.title) for arm in shares])
    axes.set_xticks(style.layer_ticks(layers))
    axes.set_xlabel("layer")
    axes.set_title(f"{column_name(column)}: layers trained", loc="left")
    axes.tick_params(length=0)
    if layers <= looks.MOST_NUMBERED_LAYERS:
        _write_shares(axes, values)
    bar = figure.colorbar(image, ax=axes, format=PercentFormatter(1.0), pad=0.02)
    bar.set_label("clients and rounds")
    bar.outline.set_visible(False)
    return figure


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Lists the points that no other beats: less cost, more accuracy.

    Args:
      points: (cost, accuracy) of each.

    Returns:
      Indices, costs ascending.

    >>> pareto([(1, 0.5), (2, 0.4), (2, 0.7), (3, 0.7)])
    [0, 2]
    """
    best, front = -math.inf, []
    for index in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if points[index][1] > best:
            best = points[index][1]
            front.append(index)
    return front


def _cost_points(study: Study, column: Column, name: str) -> dict[Arm, tuple[float, Interval]]:
    """Returns (mean cost, accuracy) of every method whose runs know the cost."""
    found = {}
    for arm in study.arms_of(column):
        values = [run.costs[name] for run in study.runs(column, arm) if name in run.costs]
        if values:
            found[arm] = (float(np.mean(values)), study.accuracy(column, arm))
    return found


def _draw_costs(axes: Axes, study: Study, found: dict[Arm, tuple[float, Interval]]) -> None:
    points = [(cost, value.mean) for cost, value in found.values()]
    front = [points[index] for index in pareto(points)]
    axes.plot(
        *zip(*front, strict=True),
        color=style.OTHER,
        linewidth=3.5,
        solid_capstyle="round",
        zorder=1,
        label="Pareto front",
    )
    for arm, (cost, value) in found.items():
        look = looks.look(study, arm)
        half = value.half_width
        axes.errorbar(
            cost,
            value.mean,
            yerr=None if math.isnan(half) else half,
            marker=look["marker"],
            color=look["color"],
            markersize=9 if arm.method == study.reference else 6,
            linestyle="none",
            elinewidth=0.8,
            label=style.label(arm.title),
        )
    amounts = [cost for cost, _ in points]
    if min(amounts) > 0 and max(amounts) > 10 * min(amounts):
        axes.set_xscale("log")
    axes.margins(0.08)
    axes.grid()


def _write_shares(axes: Axes, values: np.ndarray) -> None:
    for row, column in np.ndindex(values.shape):
        value = values[row, column]
        colour = "white" if value > 0.6 * values.max() else "black"
        axes.text(
            column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=7
        )


FIGURES: dict[str, Callable[[Study, Column], Figure | None]] = {
    "curves": round_figures.curves,
    "losses": round_figures.losses,
    "costs": costs,
    "picks": picks,
    "ranks": layer_use_figures.ranks,
    "histogram": layer_use_figures.pick_histogram,
    "searches": search_figure.draw,
    "features": feature_figure.draw,
}
"""Figures of each task and family, by the beginning of their files' names."""
