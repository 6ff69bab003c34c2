"""Critical-difference diagram of average ranks (Demšar, 2006)."""

import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from f3ocus_jax.report import style
from f3ocus_jax.sweep.ranks import RankComparison
from f3ocus_jax.sweep.study import Study

ROW = 0.26
"""Height of a row, in inches."""

BAR = 0.16
"""Height of a bar of methods that cannot be separated, in inches."""


@style.styled
def draw(study: Study) -> Figure | None:
    """Draws the average ranks of all methods, with bars over those that cannot be separated.

    Args:
      study: Results.

    Returns:
      A figure with one panel; None where the ranks cannot be tested.
    """
    found = study.compare_ranks()
    if found.reason:
        return None
    order = sorted(range(len(study.arms)), key=lambda index: found.average_ranks[index])
    names = [style.label(study.arms[index].title) for index in order]
    ranks = [found.average_ranks[index] for index in order]
    rows, bars = math.ceil(len(names) / 2), len(found.groups)
    depth = BAR * (bars + 1) + ROW * rows
    figure = style.new_figure(7.2, 1.5 + depth)
    axes = figure.subplots()
    axes.set_xlim(0.5, len(names) + 0.5)  # rank 1, the best, on the left
    axes.set_ylim(-depth - 0.1, 0.75)
    _draw_scale(axes, len(names), found)
    _draw_groups(axes, found)
    _draw_names(axes, names, ranks, top=-BAR * (bars + 1))
    axes.set_axis_off()
    verdict = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    title = f"average rank over {found.blocks} clients, 1 is best; Friedman {verdict}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=9)
    return figure


def _draw_scale(axes: Axes, methods: int, found: RankComparison) -> None:
    """Draws the axis of ranks, and the critical difference above it."""
    axes.plot([1, methods], [0, 0], color="black", linewidth=1)
    step = math.ceil(methods / 12)
    for rank in range(1, methods + 1):
        labelled = (rank - 1) % step == 0
        axes.plot([rank, rank], [0, 0.08 if labelled else 0.05], color="black", linewidth=1)
        if labelled:
            axes.text(rank, 0.11, str(rank), ha="center", va="bottom", fontsize=8)
    # A difference wider than the scale is drawn as wide as the scale.
    end = 1 + min(found.critical_difference, methods - 1)
    axes.plot([1, end], [0.48, 0.48], color="black", linewidth=1)
    for edge in (1, end):
        axes.plot([edge, edge], [0.44, 0.52], color="black", linewidth=1)
    text = f"critical difference {found.critical_difference:.2f}"
    if found.critical_difference > methods - 1:
        text += ", wider than the scale"
    axes.text((1 + end) / 2, 0.55, text, ha="center", va="bottom", fontsize=8)


def _draw_groups(axes: Axes, found: RankComparison) -> None:
    """Draws a bar under the scale for every group that cannot be separated."""
    for number, group in enumerate(found.groups, start=1):
        ends = [found.average_ranks[index] for index in (group[0], group[-1])]
        axes.plot(
            [ends[0] - 0.04, ends[1] + 0.04],
            [-BAR * number] * 2,
            color=style.CHOSEN,
            linewidth=3.2,
            solid_capstyle="butt",
            zorder=3,
        )


def _draw_names(axes: Axes, names: Sequence[str], ranks: Sequence[float], top: float) -> None:
    """Draws the better half of the names on the left, the others on the right."""
    half = math.ceil(len(names) / 2)
    for index, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        left = index < half
        row = index if left else len(names) - 1 - index
        height = top - ROW * (row + 0.5)
        edge = 0.85 if left else len(names) + 0.15
        axes.plot([rank, rank, edge], [0, height, height], color="black", linewidth=0.7, zorder=2)
        axes.text(
            edge - 0.05 if left else edge + 0.05,
            height,
            f"{name}  {rank:.2f}" if left else f"{rank:.2f}  {name}",
            ha="right" if left else "left",
            va="center",
            fontsize=8,
            clip_on=False,
        )
