"""Colours, lines and markers of methods, the same in every figure of a study."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from f3ocus_jax.report import style
from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.intervals import Interval
from f3ocus_jax.sweep.study import Study

MARKERS = "osD^vP*Xh<>p"

MOST_NUMBERED_LAYERS = 12
"""Largest number of layers whose values are written into a heatmap."""

SEED, UNDECIDED = "#4477AA", "#444444"
"""Colours of a single seed, and of a mean that nothing is said of."""

BELOW = 0.26
"""Distance of the seeds below a row's line, in rows."""


def look(study: Study, arm: Arm) -> dict[str, str]:
    """Returns colour, line style and marker of a method, the same in every figure of a study."""
    if arm.method == study.reference and not arm.setting:
        return {"color": style.CHOSEN, "linestyle": "-", "marker": "*"}
    index = [each for each in study.arms if each != Arm(study.reference)].index(arm)
    return {
        "color": style.client_colour(index),
        "linestyle": style.client_line(index),
        "marker": MARKERS.replace("*", "")[index % (len(MARKERS) - 1)],
    }


def finish(figure: Figure, axes: Axes, title: str) -> None:
    """Adds the title, percent on the vertical axis, and the legend beside the panels."""
    axes.set_title(title, loc="left")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    axes.grid(axis="y")
    add_legend(figure, axes)


def draw_row(
    axes: Axes,
    row: int,
    found: Interval,
    seeds: Sequence[float],
    *,
    colour: str = UNDECIDED,
    inner: str = "",
    size: float = 5.0,
) -> None:
    """Draws an interval and its mean on a line, and the seeds below it.

    Args:
      axes: Panel whose rows are the values 0, 1, … of its vertical axis.
      row: Row of the line.
      found: Interval over the seeds.
      seeds: Value of every seed, in the same unit.
      colour: Colour of interval and mean.
      inner: Colour inside the mean's marker; "" for `colour`.
      size: Size of the mean's marker, in points.
    """
    ends = [found.low, found.high]
    axes.plot(ends, [row, row], color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
    fill = inner or colour
    axes.plot(found.mean, row, "D", color=colour, markerfacecolor=fill, markersize=size, zorder=4)
    below = [row + BELOW] * len(seeds)
    axes.plot(seeds, below, "o", color=SEED, markersize=4, markeredgewidth=0, alpha=0.7)


def finish_rows(axes: Axes, count: int) -> None:
    """Sets the limits of a panel with rows from the top down, whose names need no axis."""
    axes.set_ylim(count - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def add_legend(figure: Figure, axes: Axes) -> None:
    """Adds the legend of a panel beside all of them."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
