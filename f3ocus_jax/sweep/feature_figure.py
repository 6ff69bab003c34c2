"""Figure of the features by client before and after training: t-SNE, as in the paper.

The picture is drawn from distances in two dimensions, which deceive; so each panel has two numbers
from the features themselves. It needs scikit-learn, of the extra `tsne`.
"""

import importlib.util
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.spatial import distance

from f3ocus_jax.evaluation import features as features_lib
from f3ocus_jax.evaluation.features import Features
from f3ocus_jax.report import style
from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.study import Column, Study, column_name

OTHERS = ("fd", "last_k")
"""Methods that stand beside the reference, as in the paper."""

NEIGHBOURS = 5
"""Neighbours whose answers are counted."""

PERPLEXITY = 30.0
"""Largest perplexity of t-SNE, its authors' default; a third of the examples where they are few."""

FEWEST = 6
"""Examples from which on a picture is drawn."""

MISSING = (
    "The t-SNE of features is left out: scikit-learn is not installed "
    "(`pip install f3ocus_jax[tsne]`)."
)
"""Note of a report that has features and cannot draw them."""

EXPLANATION = (
    "clients: silhouette, 1 if the clients' features are apart, 0 if they are mixed; answers: "
    f"share whose {NEIGHBOURS} nearest\nfeatures mostly have the same answer. Both from the "
    "features, not from the picture. Features after the last round."
)


def is_missing(study: Study) -> bool:
    """Returns True if runs kept features and scikit-learn is not there to draw them."""
    return not _is_installed() and any(
        run.features is not None
        for column in study.columns
        for arm in study.arms_of(column)
        for run in study.runs(column, arm)
    )


@style.styled
def draw(study: Study, column: Column) -> Figure | None:
    """Draws the start, the reference, FD and Last-k: one panel each, a colour per client.

    Args:
      study: Results.
      column: Task and family.

    Returns:
      A figure of one seed, the first that most of these methods have features of; None without
      features or scikit-learn.
    """
    if not _is_installed():
        return None
    seed, kept = _features(study, column)
    panels: dict[str, tuple[Features, np.ndarray]] = {}
    for arm, found in kept.items():
        if len(found.client_N) >= FEWEST:
            panels.setdefault("start", (found, found.before_ND))
            panels[arm.title] = found, found.after_ND
    if not panels:
        return None
    rows, columns = style.panel_grid(len(panels))
    figure = style.new_figure(2.5 * columns + 1.9, 2.7 * rows + 0.6)
    every = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (title, (found, features_ND)) in zip(every, panels.items(), strict=True):
        _draw_panel(axes, title, found, features_ND)
    handles, labels = every[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper")
    examples = len(next(iter(kept.values())).client_N)
    name = f"{column_name(column)}, seed {seed}: t-SNE of {examples} test examples by client"
    figure.suptitle(name, x=0.01, ha="left")
    figure.supxlabel(EXPLANATION, x=0.01, ha="left", fontsize=7)
    return figure


def embed(features_ND: np.ndarray) -> np.ndarray:
    """Computes t-SNE in two dimensions, the same for the same features.

    Args:
      features_ND: Features of N examples.

    Returns:
      points_N2, float64; all at the origin for features that do not differ.
    """
    import threadpoolctl
    from sklearn.manifold import TSNE

    values_ND = np.asarray(features_ND, np.float64)
    if np.ptp(values_ND, axis=0).max() == 0:
        return np.zeros((len(values_ND), 2))
    perplexity = min(PERPLEXITY, (len(values_ND) - 1) / 3)
    method = TSNE(perplexity=perplexity, init="pca", random_state=0, n_jobs=1)
    with threadpoolctl.threadpool_limits(1):  # Sums in another order would move points.
        return np.asarray(method.fit_transform(values_ND), np.float64)


def silhouette(features_ND: np.ndarray, client_N: np.ndarray) -> float | None:
    """Computes the mean silhouette of the clients (Rousseeuw 1987).

    Args:
      features_ND: Features of N examples.
      client_N: Index of each example's client.

    Returns:
      A number in [-1, 1]; an example that is its client's only one counts as 0. None for examples
      of one client alone.
    """
    from sklearn import metrics

    clients, sizes = np.unique(client_N, return_counts=True)
    if len(clients) < 2:
        return None
    if sizes.max() == 1:  # scikit-learn refuses groups of one example each.
        return 0.0
    score = metrics.silhouette_score(_distances(features_ND), client_N, metric="precomputed")
    return float(score)


def neighbour_accuracy(features_ND: np.ndarray, labels_N: np.ndarray) -> float | None:
    """Computes how many examples have the answer that most of their nearest neighbours have.

    Args:
      features_ND: Features of N examples.
      labels_N: Index of each example's answer; those below 0 are left out.

    Returns:
      A fraction in [0, 1]; the lowest index wins among answers that are equally frequent. None if
      there are not more labelled examples than neighbours.
    """
    known = labels_N >= 0
    labels_N, features_ND = labels_N[known], features_ND[known]
    if len(labels_N) <= NEIGHBOURS:
        return None
    distance_NN = _distances(features_ND)
    np.fill_diagonal(distance_NN, np.inf)
    nearest = np.argsort(distance_NN, axis=1, kind="stable")[:, :NEIGHBOURS]
    voted = [np.bincount(labels_N[row]).argmax() for row in nearest]
    return float(np.mean(np.array(voted) == labels_N))


def _distances(features_ND: np.ndarray) -> np.ndarray:
    values_ND = np.asarray(features_ND, np.float64)
    return distance.squareform(distance.pdist(values_ND))


def _features(study: Study, column: Column) -> tuple[int, Mapping[Arm, Features]]:
    """Returns (a seed, arms of the panels to what their runs of this seed kept)."""
    wanted = [Arm(study.reference), *map(Arm, OTHERS)]
    files = {
        arm: {run.seed: run.features for run in study.runs(column, arm) if run.features is not None}
        for arm in dict.fromkeys(wanted)
    }
    seeds = sorted({seed for found in files.values() for seed in found})
    if not seeds:
        return 0, {}
    seed = max(seeds, key=lambda seed: sum(seed in found for found in files.values()))
    return seed, {
        arm: features_lib.read(found[seed]) for arm, found in files.items() if seed in found
    }


def _draw_panel(axes: Axes, title: str, found: Features, features_ND: np.ndarray) -> None:
    points_N2 = embed(features_ND)
    for index, client in enumerate(found.clients):
        chosen = found.client_N == index
        axes.scatter(
            points_N2[chosen, 0],
            points_N2[chosen, 1],
            s=10,
            color=style.client_colour(index),
            marker=_marker(index),
            linewidths=0,
            label=style.label(client),
        )
    numbers = _numbers(found, features_ND)
    axes.set_title("\n".join([style.label(title), numbers]), loc="left")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.05)


def _numbers(found: Features, features_ND: np.ndarray) -> str:
    apart = silhouette(features_ND, found.client_N)
    answered = neighbour_accuracy(features_ND, found.labels_N)
    parts = [
        *([] if apart is None else [f"clients {apart:.2f}"]),
        *([] if answered is None else [f"answers {answered:.0%}"]),
    ]
    return ", ".join(parts)


def _marker(index: int) -> str:
    """Returns the marker of a client; the next one is used when all colours are taken."""
    markers: Sequence[str] = "os^D"
    return markers[index // len(style.CLIENT_COLOURS) % len(markers)]


def _is_installed() -> bool:
    return importlib.util.find_spec("sklearn") is not None
