"""Figures of accuracy, loss and Pareto front, and the list of all figures of a run."""

import logging
import math
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from f3ocus_jax.evaluation import accuracy as metrics, round_choice
from f3ocus_jax.report import layer_data, layer_figures, style
from f3ocus_jax.types import RoundRecord, SelectionRecord
from tfds_medvqa.common.printable import printable

logger = logging.getLogger(__name__)

MAX_NAMED = 18
"""Largest number of clients with their own colour and name; with more, all lines are grey."""


def write_all(
    records: Sequence[RoundRecord], directory: str | os.PathLike[str]
) -> list[pathlib.Path]:
    """Writes every figure that the records hold data for, as PNG.

    Args:
      records: Records of a run, rounds ascending.
      directory: Output folder; created if absent.

    Returns:
      The files written. A run without scores has no heatmap, a run without a server's choice no
      Pareto front; without records there are no files. A figure that fails is left out, and a
      warning names it.
    """
    folder = pathlib.Path(directory)
    written = []
    for name, (draw, usable) in FIGURES.items():
        try:
            if usable(records):
                written.append(style.save(draw(records), folder / f"{name}.png"))
        except Exception as error:  # Whatever a library raises must not cost the run its results.
            cause = printable(f"{type(error).__name__}: {error}", longest=200)
            logger.warning("figure %s was not drawn: %s", folder / f"{name}.png", cause)
    return written


def with_front(records: Sequence[RoundRecord]) -> list[tuple[int, SelectionRecord]]:
    """Returns (round, choice) of the rounds in which the server searched a Pareto front."""
    return [
        (record.round, record.selection)
        for record in records
        if record.selection is not None and record.selection.front
    ]


@style.styled
def accuracy(records: Sequence[RoundRecord]) -> Figure:
    """Draws test accuracy or micro F1 over rounds, for every client and the means.

    The mean on validation examples is dashed, and a star marks the round that it chooses.

    Args:
      records: Records of a run; at least one.

    Returns:
      A figure with one panel.
    """
    figure = style.new_figure(6.4, 3.8)
    axes = figure.subplots()
    records = round_choice.evaluated(records)
    values_RK = np.array(
        [
            [metrics.main_metric(c.test) if c.test else math.nan for c in record.clients]
            for record in records
        ]
    )
    _draw_curves(axes, records, values_RK, [_number(record.accuracy) for record in records])
    summaries = 1 + _draw_validation(axes, records)
    axes.set_ylabel(f"test {metrics.main_metric_name(c.test for c in records[-1].clients)} (%)")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, symbol=""))
    _add_legend(figure, axes, summaries)
    return figure


@style.styled
def loss(records: Sequence[RoundRecord]) -> Figure:
    """Draws training and test loss over rounds, for every client and the mean.

    Args:
      records: Records of a run; at least one.

    Returns:
      A figure with two panels; training starts in round 1.
    """
    figure = style.new_figure(9.0, 3.8)
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    train_RK = np.array(
        [[_number(client.train_loss) for client in record.clients] for record in records]
    )
    _draw_curves(left, records, train_RK, _mean_without_nan(train_RK))
    tested = round_choice.evaluated(records)
    _draw_curves(right, tested, _test_values(tested, "loss"), [_number(r.loss) for r in tested])
    left.set_title("training, mean over local steps", loc="left")
    right.set_title("test", loc="left")
    left.set_ylabel("loss (nats)")
    _add_legend(figure, right)
    return figure


@style.styled
def pareto_front(records: Sequence[RoundRecord]) -> Figure:
    """Draws importance over variance: the last front, its pick, and the clients' own choice.

    Args:
      records: Records of a run; at least one round with a front.

    Returns:
      A figure with one panel; better is up and to the left, earlier fronts are faint. The title
      says how much of the importance of the clients' own choices the front reaches: the rest is
      what limits cost, such as a least number of sharers.
    """
    shown = with_front(records)
    figure = style.new_figure(6.8, 3.8)
    axes = figure.subplots()
    for index, (_, selection) in enumerate(shown[:-1]):
        axes.plot(
            *_variance_and_importance(selection.front),
            color=style.OTHER,
            alpha=0.3 + 0.7 * (index + 1) / len(shown),
            linewidth=0.8,
            label="fronts of earlier rounds" if index == 0 else None,
        )
    last_round, last = shown[-1]
    front, pick, own = (
        _variance_and_importance(points)
        for points in (last.front, [last.front[last.pick]], [last.own_point])
    )
    blue, red = style.CLIENT_COLOURS[0], style.CHOSEN
    axes.plot(*front, "o-", color=blue, markersize=4, label=f"front of round {last_round}")
    axes.plot(*own, "D", color="black", markersize=7, label=f"clients' own choices ({last.score})")
    axes.plot(*pick, "*", color=red, markersize=15, markeredgecolor="white", label="the pick")
    axes.set_xlabel("variance of the layer picks (clients², smaller is better)")
    axes.set_ylabel("importance Σ S (larger is better)")
    reached = f"{_reached(last):.1%} of own importance"
    title = f"{last.algorithm}, hypervolume {last.hypervolume:.3f}, up to {reached}"
    axes.set_title(title, loc="left")
    axes.margins(0.06)
    axes.grid()
    figure.legend(loc="outside right upper")
    return figure


def _reached(selection: SelectionRecord) -> float:
    """Returns the largest importance of a front over that of the clients' own choices."""
    own, _ = selection.own_point
    return max(importance for importance, _ in selection.front) / own if own > 0 else 1.0


def _variance_and_importance(
    points: Sequence[tuple[float, float]],
) -> tuple[list[float], list[float]]:
    """Splits (importance, variance) pairs into x and y values, variance ascending."""
    ordered = sorted((variance, importance) for importance, variance in points)
    return [variance for variance, _ in ordered], [importance for _, importance in ordered]


def _draw_curves(
    axes: Axes, records: Sequence[RoundRecord], values_RK: np.ndarray, mean_R: Sequence[float]
) -> None:
    """Draws one thin line per client and a bold one for the mean; NaN leaves a gap."""
    rounds = [record.round for record in records]
    marker = "o" if len(rounds) <= 12 else ""
    names = style.client_names(records)
    few = len(names) <= MAX_NAMED
    for k, name in enumerate(names):
        axes.plot(
            rounds,
            values_RK[:, k],
            color=style.client_colour(k) if few else style.OTHER,
            linestyle=style.client_line(k) if few else "-",
            marker=marker,
            markersize=2.5,
            linewidth=1.0 if few else 0.4,
            label=style.label(name) if few else f"{len(names)} clients" if k == 0 else None,
        )
    axes.plot(
        rounds, mean_R, color=style.MEAN, marker=marker, markersize=4, linewidth=2.4, label="mean"
    )
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")


def _draw_validation(axes: Axes, records: Sequence[RoundRecord]) -> int:
    """Draws the mean on validation examples, and marks the round that it chooses on the test's.

    Returns:
      Number of entries for the legend.
    """
    values_R = [_number(record.validation) for record in records]
    if np.isnan(values_R).all():
        return 0
    rounds = [record.round for record in records]
    axes.plot(rounds, values_R, "--", color=style.OTHER, linewidth=1.6, label="mean, validation")
    chosen = round_choice.chosen_round(records)
    place = ([chosen.round], [_number(chosen.accuracy)])
    axes.plot(*place, "*", color=style.CHOSEN, markersize=12, label="chosen on validation")
    return 2


def _add_legend(figure: Figure, axes: Axes, summaries: int = 1) -> None:
    """Adds a legend outside the panels, where it covers no line, with the last entries first."""
    handles, labels = (
        [*entries[-summaries:], *entries[:-summaries]]
        for entries in axes.get_legend_handles_labels()
    )
    figure.legend(handles, labels, loc="outside right upper")


def _number(value: float | None) -> float:
    """Returns NaN, which a curve leaves out, for None."""
    return math.nan if value is None else value


def _test_values(records: Sequence[RoundRecord], metric: str) -> np.ndarray:
    """Returns float64 [rounds, K]; NaN where a client has no such metric."""
    return np.array(
        [[client.test.get(metric, math.nan) for client in record.clients] for record in records]
    )


def _mean_without_nan(values_RK: np.ndarray) -> list[float]:
    """Returns the mean over the clients that have a value; NaN where none has."""
    return [
        float(np.mean(row_K[~np.isnan(row_K)])) if not np.isnan(row_K).all() else math.nan
        for row_K in values_RK
    ]


FIGURES: dict[str, tuple[Callable[[Sequence[RoundRecord]], Figure], Callable[..., object]]] = {
    "accuracy": (accuracy, list),
    "loss": (loss, list),
    "layer_ranks": (layer_figures.layer_ranks, layer_data.with_scores),
    "layer_picks": (layer_figures.layer_picks, layer_data.with_training),
    "layer_values": (layer_figures.layer_values, layer_data.with_values),
    "pareto_front": (pareto_front, with_front),
}
"""Maps a file name to (drawing function, function that returns the rounds it can draw)."""
