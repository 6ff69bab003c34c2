"""Line charts, bar charts and point clouds as numbers and paths, which a template writes as SVG."""

import dataclasses
import math
from collections.abc import Sequence

from f3ocus_jax.report.page.scales import Axis, span, whole_ticks

Points = Sequence[tuple[float, float]]
"""(x, y) pairs; y is NaN where there is none."""

LEFT, RIGHT, TOP, BOTTOM = 40.0, 10.0, 20.0, 30.0
"""Margins of a chart, in units of the picture, for labels of the axes."""

LINE, DOTS, STAR, BARS = "line", "dots", "star", "bars"


@dataclasses.dataclass(frozen=True)
class Series:
    """Values to draw.

    Attributes:
      style: Name of the look, a class of the style sheet.
      points: (x, y) pairs, x ascending.
      kind: LINE, DOTS, STAR or BARS.
    """

    style: str
    points: Points
    kind: str = LINE


@dataclasses.dataclass(frozen=True)
class Shape:
    """A drawn series: its look, its kind, and the path of the SVG."""

    style: str
    kind: str
    path: str


@dataclasses.dataclass(frozen=True)
class Chart:
    """A drawn chart, all places in units of its picture.

    Attributes:
      label: Text that stands for the chart where it cannot be seen.
      width: Width of the picture.
      height: Height of the picture.
      x_ticks: (place, label) of every labelled value.
      y_ticks: (place, label) of every labelled value.
      x_name: Name of the horizontal axis.
      y_name: Name of the vertical axis; "" for none.
      shapes: The series.
    """

    label: str
    width: float
    height: float
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    x_name: str
    y_name: str
    shapes: list[Shape]

    left, right, top, bottom = LEFT, RIGHT, TOP, BOTTOM


@dataclasses.dataclass(frozen=True)
class Form:
    """Form of a chart.

    Attributes:
      x_name: Name of the horizontal axis.
      y_name: Name of the vertical axis.
      width: Width of the picture.
      height: Height of the picture.
      percent: True if the y values are fractions, labelled in percent.
      log: True for a logarithmic vertical axis.
      whole: True if the x values are whole numbers.
    """

    x_name: str
    y_name: str = ""
    width: float = 320.0
    height: float = 200.0
    percent: bool = False
    log: bool = False
    whole: bool = True


def draw(
    series: Sequence[Series],
    form: Form,
    label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> Chart:
    """Draws a chart.

    Args:
      series: The series, the last on top.
      form: Form of the chart.
      label: Text that stands for the chart where it cannot be seen.
      x_range: Values at both ends of the horizontal axis; those of the data if None.
      y_range: The same of the vertical axis.

    Returns:
      The chart; without any value, axes from 0 to 1.
    """
    points = [point for each in series for point in each.points]
    found = [x for x, _ in points]
    x_low, x_high = x_range or (_whole_span(found) if form.whole else span(found))
    y_low, y_high = y_range or span([y for _, y in points], log=form.log)
    x_axis = Axis(x_low, x_high, LEFT, form.width - RIGHT)
    y_axis = Axis(y_low, y_high, form.height - BOTTOM, TOP, form.log)
    numbers = [math.ceil(x_low), math.floor(x_high)]
    x_values = whole_ticks(numbers, 7) if form.whole else x_axis.ticks(6)
    return Chart(
        label=label,
        width=form.width,
        height=form.height,
        x_ticks=[(x_axis.place(value), f"{value:g}") for value in x_values],
        y_ticks=[(y_axis.place(value), _y_label(value, form)) for value in y_axis.ticks(5)],
        x_name=form.x_name,
        y_name=form.y_name,
        shapes=[
            Shape(each.style, each.kind, PATHS[each.kind](each.points, x_axis, y_axis))
            for each in series
        ],
    )


def _whole_span(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    return (low, high) if low < high else (low - 0.5, high + 0.5)


def _y_label(value: float, form: Form) -> str:
    if form.log:
        return f"{value:.0e}".replace("e-0", "e-").replace("e+00", "").replace("e+0", "e")
    return f"{100 * value:g}" if form.percent else f"{value:g}"


def _line(points: Points, x_axis: Axis, y_axis: Axis) -> str:
    """Returns a path that is broken where a value is missing; a lone value becomes a dot."""
    commands, pen = [], "M"
    for x, y in points:
        if math.isfinite(y):
            place = f"{x_axis.place(x):g} {y_axis.place(y):g}"
            commands.append(f"M{place}h0" if pen == "M" else f"L{place}")
        pen = "L" if math.isfinite(y) else "M"
    return "".join(commands)


def _dots(points: Points, x_axis: Axis, y_axis: Axis) -> str:
    """Returns a path of lines without length, which round ends make dots of."""
    return "".join(
        f"M{x_axis.place(x):g} {y_axis.place(y):g}h0" for x, y in points if math.isfinite(y)
    )


def _star(points: Points, x_axis: Axis, y_axis: Axis) -> str:
    """Returns a path of stars with five points."""
    corners = [
        (radius * math.sin(index * math.pi / 5), -radius * math.cos(index * math.pi / 5))
        for index, radius in enumerate((7.0, 2.9) * 5)
    ]
    return "".join(
        "M"
        + "L".join(f"{x_axis.place(x) + dx:.1f} {y_axis.place(y) + dy:.1f}" for dx, dy in corners)
        + "z"
        for x, y in points
        if math.isfinite(y)
    )


def _bars(points: Points, x_axis: Axis, y_axis: Axis) -> str:
    """Returns a path of bars that are four fifths as wide as the distance between two numbers."""
    half = 0.4 * (x_axis.end - x_axis.start) / (x_axis.high - x_axis.low)
    return "".join(
        f"M{x_axis.place(x) - half:.1f} {y_axis.start:g}V{y_axis.place(y):g}h{2 * half:.1f}"
        f"V{y_axis.start:g}z"
        for x, y in points
        if math.isfinite(y)
    )


PATHS = {LINE: _line, DOTS: _dots, STAR: _star, BARS: _bars}
"""Maps a kind of series to the function that makes its path."""
