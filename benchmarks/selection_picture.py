"""Picture of each metaheuristic's front over the exact one, and of the clients' own choice."""

import pathlib
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAMES = {
    "nsga2": "NSGA-II",
    "abc": "artificial bee colony",
    "aco": "ant colony",
    "sa": "simulated annealing",
    "mopso": "particle swarm",
}
EXACT, FOUND, OWN = "0.55", "#0072B2", "#D55E00"
"""Colours that people with any colour vision can distinguish (Okabe and Ito)."""


def draw(
    path: pathlib.Path,
    exact_NM: np.ndarray,
    fronts: Mapping[str, np.ndarray],
    own_M: np.ndarray,
) -> None:
    """Draws one panel per metaheuristic and writes a PNG.

    Args:
      path: Output file.
      exact_NM: (importance, variance) of every point of the exact front.
      fronts: Name of the metaheuristic to the points of its front.
      own_M: (importance, variance) of the clients' own choice.
    """
    figure = Figure(figsize=(8, 5.2), layout="constrained")
    grid = figure.subplots(2, 3, sharex=True, sharey=True).ravel()
    for axes, (name, points_NM) in zip(grid, fronts.items(), strict=False):
        draw_panel(axes, exact_NM, points_NM, own_M)
        axes.set_title(NAMES[name], loc="left", fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    grid[-1].axis("off")
    grid[-1].legend(handles, labels, loc="center", frameon=False, fontsize=10)
    # The last panel holds the legend, so the one above it has the axis.
    grid[2].tick_params(labelbottom=True)
    figure.supxlabel("importance (more is better)", fontsize=10)
    figure.supylabel("variance of the layers' picks (less is better)", fontsize=10)
    figure.savefig(path, dpi=120)


def draw_panel(axes: Axes, exact_NM: np.ndarray, points_NM: np.ndarray, own_M: np.ndarray) -> None:
    """Draws one front over the exact one."""
    axes.plot(*exact_NM.T, color=EXACT, linewidth=4, label="exact front", zorder=1)
    axes.plot(*points_NM.T, "o", color=FOUND, markersize=3, label="front found", zorder=2)
    axes.plot(*own_M, "*", color=OWN, markersize=13, label="LNTK: own choices", zorder=3)
    axes.grid(color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
