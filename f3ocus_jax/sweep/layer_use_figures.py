"""Figures of the layers before and after the server's choice: ranks by client, and picks."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from f3ocus_jax.report import layer_figures, style
from f3ocus_jax.sweep import layer_use, looks
from f3ocus_jax.sweep.layer_use import LayerUse
from f3ocus_jax.sweep.study import Column, Study, column_name

BEFORE, AFTER = "before: each client's own choice", "after: the server's refinement"


@style.styled
def ranks(study: Study, column: Column) -> Figure | None:
    """Draws the mean rank of every layer for every client of the reference, before and after.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure with two heatmaps, clients by layers; None where the reference scored no layers.
    """
    found, seeds = _of_reference(study, column)
    if found is None:
        return None
    clients, num_layers = found.own_ranks_KL.shape
    shown = min(clients, style.MAX_PANELS)
    figure = style.new_figure(float(np.clip(0.62 * num_layers, 6, 9.2)), 1.3 + 0.27 * shown)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, ranks_KL in (
        (panels[0], BEFORE, found.own_ranks_KL[:shown]),
        (panels[1], AFTER, found.refined_ranks_KL[:shown]),
    ):
        image = _draw_ranks(axes, ranks_KL)
        axes.set_title(title, loc="left")
    panels[0].set_yticks(range(shown), [style.label(name) for name in found.clients[:shown]])
    bar = figure.colorbar(image, ax=panels, pad=0.01)
    bar.set_label("mean rank")
    bar.ax.invert_yaxis()
    bar.outline.set_visible(False)
    note = style.too_many_clients(found.clients)
    title = f"{_title(study, column, seeds)}{note}: mean rank of the layers, 1 is first"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


@style.styled
def pick_histogram(study: Study, column: Column) -> Figure | None:
    """Draws how many clients choose each layer of the reference, before and after refinement.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure with two histograms, means over rounds and seeds; None where the reference scored no
      layers.
    """
    found, seeds = _of_reference(study, column)
    if found is None:
        return None
    num_layers = found.own_KL.shape[1]
    figure = style.new_figure(7.2, 2.6)
    panels = figure.subplots(1, 2, sharey=True)
    for axes, title, picks_KL, colour in (
        (panels[0], BEFORE, found.own_KL, style.CLIENT_COLOURS[0]),
        (panels[1], AFTER, found.trained_KL, style.CHOSEN),
    ):
        picks_L = picks_KL.sum(axis=0)
        axes.bar(np.arange(num_layers), picks_L, color=colour, width=0.8)
        axes.axhline(picks_L.mean(), color="black", linewidth=0.9, linestyle="--")
        axes.set_title(title, loc="left")
        axes.set_xticks(style.layer_ticks(num_layers))
        axes.set_xlabel("layer (0 = first block)")
        axes.grid(axis="y")
    panels[0].set_ylabel(f"clients of {len(found.clients)}")
    title = f"{_title(study, column, seeds)}: clients that pick a layer; dashed: the mean layer"
    figure.suptitle(title, x=0.01, ha="left")
    return figure


def _of_reference(study: Study, column: Column) -> tuple[LayerUse | None, int]:
    """Returns (layer use of the reference, mean over its seeds; number of these)."""
    arm = study.reference_arm(column)
    runs = [] if arm is None else study.runs(column, arm)
    uses = [run.layer_use for run in runs if run.layer_use is not None]
    return layer_use.mean(uses), len(uses)


def _title(study: Study, column: Column, seeds: int) -> str:
    arm = study.reference_arm(column)
    name = style.label(arm.title) if arm else ""
    return f"{column_name(column)}, {name}, {seeds} {'seed' if seeds == 1 else 'seeds'}"


def _draw_ranks(axes: Axes, ranks_KL: np.ndarray) -> AxesImage:
    """Draws a heatmap of ranks, with the numbers where there is room."""
    clients, num_layers = ranks_KL.shape
    colours = Normalize(1, num_layers)
    image = axes.imshow(ranks_KL, cmap=layer_figures.RANK_COLOURS, norm=colours, aspect="auto")
    axes.set_xticks(style.layer_ticks(num_layers))
    axes.set_xlabel("layer (0 = first block)")
    axes.tick_params(length=0)
    if num_layers <= looks.MOST_NUMBERED_LAYERS:
        for row, layer in np.ndindex(clients, num_layers):
            value = ranks_KL[row, layer]
            colour = "black" if value < 1 + 0.6 * (num_layers - 1) else "white"  # yellow is first
            text = axes.text(layer, row, f"{value:.0f}", color=colour, fontsize=6.5)
            text.set(ha="center", va="center")
    return image
