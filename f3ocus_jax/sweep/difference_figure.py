"""Figure of every method's difference to the reference, and the same in words."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f3ocus_jax.report import style
from f3ocus_jax.sweep import formats, looks
from f3ocus_jax.sweep.intervals import Interval
from f3ocus_jax.sweep.study import Column, Comparison, Study

PERCENT = 100.0

ROW = 0.3
"""Height of a row, in inches."""

WIDEST = 2.0
"""Longest part of an interval that is shown, in units of the farthest seed's difference."""

BETTER, WORSE = "#117733", style.CHOSEN
"""Colours of methods that are separated from the reference, above and below."""


@style.styled
def draw(study: Study, column: Column, title: str) -> Figure | None:
    """Draws the differences, best method first: mean, interval over seeds, and every seed.

    Args:
      study: Results.
      column: Task and family.
      title: Title of the figure.

    Returns:
      A figure with one panel; None where nothing is compared.
    """
    compared, reference = ordered(study, column), study.reference_arm(column)
    if not compared or reference is None:
        return None
    figure = style.new_figure(7.2, 1.25 + ROW * len(compared))
    axes = figure.subplots()
    axes.axvline(0, color=style.MEAN, linewidth=1)
    name = style.label(reference.title)
    axes.text(0, -0.65, name, ha="center", va="bottom", fontsize=8)
    for row, found in enumerate(compared):
        _draw_row(axes, row, found)
    _finish(axes, compared)
    axes.set_xlabel(f"difference to {name}, points of accuracy")
    figure.suptitle(title, x=0.01, ha="left")
    figure.legend(loc="outside lower center", ncols=4, handletextpad=0.4, columnspacing=1.2)
    return figure


def describe(study: Study, column: Column) -> str:
    """Returns the numbers of the figure, a line per method in its order.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      Lines such as "FD: +1.7 ± 2.4 points, 3 seeds (+2.8 +1.1 +1.1), not told apart"; "" where
      nothing is compared.
    """
    return "\n".join(
        f"{found.arm.title}: {points(found.difference)} points, {_seeds([found])} "
        f"({' '.join(map(_signed, found.by_seed.values()))}), "
        f"{'' if found.separated else 'not '}told apart"
        for found in ordered(study, column)
    )


def summarise(study: Study, column: Column) -> str:
    """Returns what can be told apart, in a sentence.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A sentence; "" where nothing is compared.
    """
    compared, reference = ordered(study, column), study.reference_arm(column)
    if not compared or reference is None:
        return ""
    above = [each for each in compared if each.separated and each.difference.mean > 0]
    below = [each for each in compared if each.separated and each.difference.mean < 0]
    open_ = [each for each in compared if not each.separated]
    parts = [
        f"{verb} {reference.title}: {', '.join(each.arm.title for each in some) or 'none'}"
        for verb, some in (
            ("better than", above),
            ("worse than", below),
            ("not told apart from", open_),
        )
    ]
    return f"With {_seeds(compared)} per method, {'; '.join(parts)}."


def ordered(study: Study, column: Column) -> list[Comparison]:
    """Returns the comparisons that have a difference, the best method first."""
    known = [each for each in study.compare(column) if not math.isnan(each.difference.mean)]
    return sorted(known, key=lambda each: (-each.difference.mean, each.arm.order))


def points(found: Interval) -> str:
    """Returns a difference with half of its interval's width, in points.

    >>> points(Interval(0.017, -0.007, 0.041, 3)), points(Interval(0.01, math.nan, math.nan, 1))
    ('+1.7 ± 2.4', '+1.0')
    """
    text = _signed(found.mean)
    half = PERCENT * found.half_width
    return text if math.isnan(half) else f"{text} ± {half:.1f}"


def _signed(value: float) -> str:
    return f"{PERCENT * value:+.1f}".replace("-", "\N{MINUS SIGN}")


def _seeds(compared: Sequence[Comparison]) -> str:
    number = formats.span(len(each.by_seed) for each in compared)
    return f"{number} seed" if number == "1" else f"{number} seeds"


def _draw_row(axes: Axes, row: int, found: Comparison) -> None:
    """Draws one method's difference, filled in colour where it is separated from the reference."""
    colour, inner = looks.UNDECIDED, "white"
    if found.separated:
        colour = inner = BETTER if found.difference.mean > 0 else WORSE
    difference = found.difference
    ends = {name: PERCENT * getattr(difference, name) for name in ("mean", "low", "high")}
    seeds = [PERCENT * value for value in found.by_seed.values()]
    interval = dataclasses.replace(difference, **ends)
    looks.draw_row(axes, row, interval, seeds, colour=colour, inner=inner, size=6.5)


def _finish(axes: Axes, compared: Sequence[Comparison]) -> None:
    """Sets limits, names, numbers on the right, and the entries of the legend."""
    rows = range(len(compared))
    reach = PERCENT * max(abs(v) for each in compared for v in each.by_seed.values())
    ends = [
        float(np.clip(PERCENT * end, -WIDEST * reach, WIDEST * reach))
        for each in compared
        for end in (each.difference.low, each.difference.high, *each.by_seed.values())
        if not math.isnan(end)
    ]
    margin = 0.04 * (max(ends) - min(ends)) or 1.0
    axes.set_xlim(min(*ends, 0) - margin, max(*ends, 0) + margin)
    axes.set_yticks(rows, [style.label(each.arm.title) for each in compared])
    right = axes.secondary_yaxis("right")
    right.set_yticks(rows, [points(each.difference) for each in compared])
    right.tick_params(axis="y", length=0)
    right.spines["right"].set_visible(False)
    looks.finish_rows(axes, len(compared))
    _add_legend(axes)


def _add_legend(axes: Axes) -> None:
    """Adds entries for the legend, whether a method of that kind is there or not."""
    entries = (
        (looks.UNDECIDED, "white", "mean, not told apart"),
        (BETTER, BETTER, "better"),
        (WORSE, WORSE, "worse"),
    )
    for colour, inner, text in entries:
        axes.plot([], [], "D", color=colour, markerfacecolor=inner, linestyle="none", label=text)
    axes.plot([], [], "o", color=looks.SEED, markersize=4, linestyle="none", label="one seed")
