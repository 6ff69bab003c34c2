"""Figures of layers: importance to every client, and choices before and after refinement."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

from f3ocus_jax.report import layer_data, style
from f3ocus_jax.types import ClientRecord, RoundRecord

RANK_COLOURS = "cividis_r"
"""A perceptually uniform colour map for people with any colour vision."""

MAX_SEPARATE_MARKS = 40
"""With more rounds than this, adjacent marks join to lines, which stay readable."""

VALUE_LABELS = {"lntk": "eigenvalue λ₁ of the layer's NTK"}
"""Axis label of a score's raw values; other scores are labelled by their name."""

LARGEST_LINEAR_RATIO = 50.0
"""Largest ratio of the highest to the lowest bar on a linear scale; above it the scale is log."""


@style.styled
def layer_ranks(records: Sequence[RoundRecord]) -> Figure:
    """Draws every client's layer ranks over rounds, before and after refinement.

    Before refinement, layers rank by the client's own importance; after it, by the server's
    refined ranking, in which the chosen layers come first. A black mark is a chosen layer; a
    client has no ranks in a round it missed.

    Args:
      records: Records of a run; at least one round with scores.

    Returns:
      A figure with a pair of heatmaps per client.
    """
    shown = layer_data.with_scores(records)
    names = style.client_names(shown)
    num_layers = layer_data.num_layers(shown)
    rows, columns = style.panel_grid(min(len(names), style.MAX_PANELS))
    width = float(np.clip(0.06 * len(shown), 1.2, 2.0))
    height = float(np.clip(0.11 * num_layers, 1.4, 4.2))
    figure = style.new_figure(columns * (2 * width + 0.4) + 1.1, rows * (height + 0.6) + 0.6)
    ratios = (columns * (2 * width + 0.4), 0.8)
    page, bar = figure.subfigures(1, 2, width_ratios=ratios, squeeze=False).ravel()
    pages = page.subfigures(rows, columns, squeeze=False).ravel()
    for k, name in enumerate(names[: style.MAX_PANELS]):
        clients = [record.clients[k] for record in shown]
        _draw_pair(pages[k], clients, [record.round for record in shown], num_layers)
        pages[k].suptitle(
            style.label(name), x=0.27 / (2 * width + 0.4), ha="left", fontweight="bold"
        )
    _draw_colour_bar(bar, Normalize(1, num_layers))
    figure.suptitle("Layer ranks before and after refinement" + style.too_many_clients(names))
    page.supxlabel("round")
    page.supylabel("layer (0 = first block)")
    return figure


@style.styled
def layer_picks(records: Sequence[RoundRecord]) -> Figure:
    """Draws how often each layer was chosen, by the clients themselves and after refinement.

    The variance is the paper's objective, (1/L) Σ_l (n_l - n̄)², taken in every round; the title
    gives its mean over the rounds.

    Args:
      records: Records of a run; at least one round that trained.

    Returns:
      A figure with two histograms over the layers.
    """
    shown = layer_data.with_training(records)
    num_layers = layer_data.num_layers(shown)
    figure = style.new_figure(float(np.clip(0.22 * num_layers + 1.5, 5, 11)), 4.4)
    panels = figure.subplots(2, sharex=True, sharey=True)
    before_RL = layer_data.picks(
        [[client.own_layers for client in r.clients] for r in shown], num_layers
    )
    after_RL = layer_data.picks(
        [[client.layers for client in r.clients] for r in shown], num_layers
    )
    for axes, name, picks_RL, colour in (
        (panels[0], "Before: each client's own choice", before_RL, style.CLIENT_COLOURS[0]),
        (panels[1], "After: the server's refinement", after_RL, style.CHOSEN),
    ):
        axes.bar(np.arange(num_layers), picks_RL.mean(axis=0), color=colour, width=0.8)
        axes.axhline(picks_RL.mean(), color="black", linewidth=0.9, linestyle="--")
        axes.set_title(f"{name} (variance {picks_RL.var(axis=1).mean():.2f})", loc="left")
        axes.grid(axis="y")
    panels[1].set_xticks(style.layer_ticks(num_layers, 24))
    panels[1].set_xlim(-0.6, num_layers - 0.4)
    panels[1].set_xlabel("layer (0 = first block)")
    figure.supylabel(f"clients per round (mean of {len(shown)} rounds)")
    panels[0].margins(y=0.08)
    return figure


@style.styled
def layer_values(records: Sequence[RoundRecord]) -> Figure:
    """Draws every client's raw scores (λ_1 for LNTK), in the last round that has them.

    Args:
      records: Records of a run; at least one round with raw scores.

    Returns:
      A figure with one bar chart per client on a shared axis.
    """
    record = layer_data.with_values(records)[-1]
    names = style.client_names([record])
    num_layers = layer_data.num_layers([record])
    panels = min(len(names), style.MAX_PANELS)
    rows, columns = style.panel_grid(panels)
    width = float(np.clip(0.12 * num_layers, 2.2, 4.2))
    figure = style.new_figure(max(columns * width, 3.9) + 1.4, rows * 1.6 + 0.8)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for axes, client in zip(grid, record.clients[:panels], strict=False):
        chosen_L = np.isin(np.arange(num_layers), client.layers)
        colours = np.where(chosen_L, style.CHOSEN, style.OTHER)
        bars = np.arange(len(client.values))
        axes.bar(bars, client.values, color=colours.tolist()[: len(bars)], width=0.8)
        axes.set_title(style.label(client.client), loc="left")
        axes.set_xticks(style.layer_ticks(num_layers, 8))
        axes.grid(axis="y")
    _scale_bars(grid[0], [value for client in record.clients for value in client.values])
    _hide_unused(grid, panels, columns)
    figure.legend(
        handles=[Patch(color=style.CHOSEN), Patch(color=style.OTHER)],
        labels=["trained", "frozen"],
        loc="outside right upper",
    )
    score = record.selection.score if record.selection else ""
    figure.suptitle(f"Score per layer, round {record.round}" + style.too_many_clients(names))
    figure.supxlabel("layer (0 = first block)")
    figure.supylabel(VALUE_LABELS.get(score, score or "score"))
    return figure


def _draw_pair(
    page: SubFigure,
    clients: Sequence[ClientRecord],
    rounds: Sequence[int],
    num_layers: int,
) -> None:
    """Draws one client's two heatmaps side by side."""
    before, after = page.subplots(1, 2, sharey=True)
    for axes, title, refined in ((before, "before", False), (after, "after", True)):
        _draw_ranks(axes, clients, num_layers, refined)
        axes.set_title(title, loc="left")
        style.label_rounds(axes, rounds)


def _draw_ranks(
    axes: Axes, clients: Sequence[ClientRecord], num_layers: int, refined: bool
) -> None:
    """Draws one heatmap, layers over rounds, and marks the chosen layers."""
    chosen = [client.layers if refined else client.own_layers for client in clients]
    ranks_LR = layer_data.ranks_by_round(clients, num_layers, refined=refined)
    colours = Normalize(1, num_layers)
    axes.imshow(ranks_LR, cmap=RANK_COLOURS, norm=colours, aspect="auto", origin="lower")
    width = 0.4 if len(clients) <= MAX_SEPARATE_MARKS else 1.0
    marks = [
        Rectangle((column - width / 2, layer - 0.2), width, 0.4)
        for column, layers in enumerate(chosen)
        for layer in layers
    ]
    axes.add_collection(PatchCollection(marks, facecolor="black", linewidth=0))
    axes.set_yticks(style.layer_ticks(len(ranks_LR)))


def _draw_colour_bar(page: SubFigure, colours: Normalize) -> None:
    """Draws the scale of the ranks, rank 1 on top, and the meaning of a mark."""
    scale = ScalarMappable(colours, RANK_COLOURS)
    bar = page.colorbar(scale, cax=page.subplots(), label="rank (1 = most important)")
    bar.ax.invert_yaxis()
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    bar.ax.set_title("■ chosen")


def _scale_bars(axes: Axes, values: Sequence[float]) -> None:
    """Chooses a log axis where a linear one would hide small bars; zeros have no bar there."""
    positive = [value for value in values if value > 0]
    if positive and min(values) >= 0 and max(positive) > LARGEST_LINEAR_RATIO * min(positive):
        axes.set_yscale("log")
        axes.set_ylim(min(positive) / 2, max(positive) * 2)


def _hide_unused(grid: np.ndarray, panels: int, columns: int) -> None:
    """Removes panels without a client and labels the layers on the panel above each."""
    for index in range(panels, len(grid)):
        grid[index].set_visible(False)
        grid[index - columns].tick_params(labelbottom=True)
