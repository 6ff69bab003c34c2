"""References that are slow and obviously right, and random problems to try them on."""

import itertools

import numpy as np


def draw_scores(
    clients: int, layers: int, *, correlation: float = 0.0, seed: int = 0
) -> np.ndarray:
    """Draws log-normal importances, rows summing to 1, clients correlated."""
    draw = np.random.default_rng(seed)
    own_KL, common_1L = draw.normal(size=(clients, layers)), draw.normal(size=(1, layers))
    mixed_KL = np.sqrt(1 - correlation) * own_KL + np.sqrt(correlation) * common_1L
    scores_KL = np.exp(2 * mixed_KL)
    return (scores_KL / scores_KL.sum(axis=1, keepdims=True)).astype(np.float32)


def worth(mask_KL: np.ndarray, scores_KL: np.ndarray) -> tuple[float, float]:
    """(−importance, variance) from the paper's sums; in whole numbers, so that ties are ties."""
    histogram_L, layers = mask_KL.sum(axis=0), mask_KL.shape[1]
    squares = sum((layers * int(n) - int(histogram_L.sum())) ** 2 for n in histogram_L)
    return -float(np.sum(scores_KL.astype(np.float64)[mask_KL])), squares / layers**3


def all_choices(layers: int, budgets: list[int]) -> list[np.ndarray]:
    """Every mask in which each client picks exactly its budget."""
    rows = [
        [np.isin(np.arange(layers), chosen) for chosen in itertools.combinations(range(layers), b)]
        for b in budgets
    ]
    return [np.stack(rows_KL) for rows_KL in itertools.product(*rows)]


def ranks(points_PM: np.ndarray) -> list[int]:
    """Fronts by peeling, one pair at a time; rows with a NaN get the number of rows."""
    left = {p for p, point in enumerate(points_PM) if not np.isnan(point).any()}
    result, rank = [len(points_PM)] * len(points_PM), 0
    while left:
        front = {p for p in left if not any(_dominates(points_PM[q], points_PM[p]) for q in left)}
        for p in front:
            result[p] = rank
        left, rank = left - front, rank + 1
    return result


def front(points_PM: np.ndarray) -> set[tuple[float, ...]]:
    """The distinct non-dominated points."""
    found = ranks(points_PM)
    return {tuple(point) for point, rank in zip(points_PM, found, strict=True) if rank == 0}


def hypervolume(points_PM: np.ndarray, reference_M: np.ndarray) -> float:
    """The dominated area, counted cell by cell of the grid that the points draw."""
    points = [p for p in points_PM if not np.isnan(p).any() and np.all(p < reference_M)]
    edges = [sorted({*(p[m] for p in points), reference_M[m]}) for m in range(2)]
    area = 0.0
    for left, right in itertools.pairwise(edges[0]):
        for low, high in itertools.pairwise(edges[1]):
            if any(p[0] <= left and p[1] <= low for p in points):
                area += (right - left) * (high - low)
    return area


def _dominates(left: np.ndarray, right: np.ndarray) -> bool:
    return bool(np.all(left <= right) and np.any(left < right))
