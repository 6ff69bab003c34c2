"""The cost of a least number of sharers per layer, and how near the five come to the exact front.

    python -m benchmarks.selection_sharers [--cases 9x32] [--seeds 1] [--methods sa] [--json FILE]

Instances as in `benchmarks/selection.py`. For t = 1, 2, 3, 4 sharers: number of points of the true
front, its largest importance, its least variance, its hypervolume as a fraction of that of t = 1,
and CPU seconds; then for every search the hypervolume of its front as a fraction of the true
front's at the same t. Hypervolumes are within one box per instance, which holds the fronts of all
t: from the least importance and the largest variance of any to the best of both.
"""

import argparse
import itertools
import pathlib
import platform
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import jax
import numpy as np

from benchmarks import reporting, selection as base
from f3ocus_jax import selection
from f3ocus_jax.selection import exact
from f3ocus_jax.selection.problem import Limits

CASES = {
    "6x6": (6, 6, (2, 2)),
    "8x12": (8, 12, (2, 6)),
    "10x12": (10, 12, (4, 4)),
    "9x32": (9, 32, (4, 4)),
}
SHARERS = (1, 2, 3, 4)
MARGIN = 1e-3
"""Distance of the box from the worst point, so that a front of one point has an area."""

Drawn = tuple[np.ndarray, np.ndarray]
Row = dict[str, Any]


def make_limits(drawn: Drawn, sharers: int) -> Limits | None:
    """Returns the limits of a number of sharers; None for one."""
    if sharers == 1:
        return None
    wanted = selection.Requirements(sharers=sharers)
    return selection.limits.make_limits(wanted, *drawn)


def area(points_NM: np.ndarray, box_2M: np.ndarray) -> float:
    """Area that points dominate in a box from its worst corner to its best, in units of the box.

    Args:
      points_NM: (importance, variance).
      box_2M: Worst corner, best corner.

    Returns:
      Area in [0, 1].
    """
    scaled_NM = (points_NM - box_2M[0]) / (box_2M[1] - box_2M[0])
    total, reached = 0.0, 0.0
    for importance, evenness in sorted(scaled_NM.tolist(), reverse=True):
        if importance > 0 and evenness > reached:
            total += importance * (evenness - reached)
            reached = evenness
    return total


def common_box(fronts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the box, [2, M], that holds all fronts."""
    points_NM = np.concatenate(fronts)
    low_M, high_M = points_NM.min(axis=0), points_NM.max(axis=0)
    worst_M = np.array([low_M[0] - MARGIN, high_M[1] + MARGIN])
    return np.stack([worst_M, np.array([high_M[0], low_M[1]])])


def make_selects(methods: Sequence[str]) -> dict[str, selection.Select]:
    """Makes both variants of the searches."""
    return {
        f"{variant} {name}": selection.make_selector(
            name, population=base.POPULATION, generations=base.GENERATIONS, variant=variant
        )
        for variant in selection.VARIANTS
        for name in methods
    }


def search(select: selection.Select, drawn: Drawn, limits: Limits | None, seed: int) -> np.ndarray:
    """Returns the front of a search, [N, M], after a check of the limit."""
    scores_KL, budgets_K = drawn
    unused_PKL = base.no_front(*scores_KL.shape)
    chosen = select(jax.random.key(seed), scores_KL, budgets_K, unused_PKL, limits)
    valid_P = np.asarray(chosen.front_valid_P)
    histogram_NL = np.asarray(chosen.front_mask_PKL)[valid_P].sum(axis=1)
    if limits is not None and limits.sharers is not None:
        alone_NL = (histogram_NL > 0) & (histogram_NL < int(limits.sharers))
        if alone_NL.any():
            raise RuntimeError("a search returned a choice with too few sharers")
    return np.asarray(chosen.front_objectives_PM, np.float64)[valid_P]


def measure_instance(
    drawn: Drawn, seed: int, selects: dict[str, selection.Select]
) -> list[dict[str, float]]:
    """Measures all numbers of sharers on one instance."""
    limits = {sharers: make_limits(drawn, sharers) for sharers in SHARERS}
    fronts, seconds = {}, {}
    for sharers in SHARERS:
        start = time.process_time()
        fronts[sharers] = exact.true_front(*drawn, limits[sharers]).points_NM
        seconds[sharers] = time.process_time() - start
    box_2M = common_box(list(fronts.values()))
    areas = {sharers: area(front_NM, box_2M) for sharers, front_NM in fronts.items()}
    rows = []
    for sharers, front_NM in fronts.items():
        row = {
            "sharers": sharers,
            "seconds": seconds[sharers],
            "points": len(front_NM),
            "importance": front_NM[:, 0].max(),
            "variance": front_NM[:, 1].min(),
            "hypervolume": areas[sharers] / areas[1],
        }
        for name, select in selects.items():
            found_NM = search(select, drawn, limits[sharers], seed)
            row[name] = area(found_NM, box_2M) / max(areas[sharers], 1e-12)
        rows.append(row)
    return rows


def measure_case(case: str, seeds: int, methods: Sequence[str]) -> list[Row]:
    """Measures the instances of a case and prints a row per correlation and number of sharers."""
    selects, rows = make_selects(methods), []
    for correlation in base.CORRELATIONS:
        parts = []
        for seed in range(seeds):
            scores_KL, budgets_K = base.draw_instance(CASES[case], correlation, seed)
            drawn = scores_KL.astype(np.float32), budgets_K
            parts += measure_instance(drawn, seed, selects)
        for sharers in SHARERS:
            alike = [part for part in parts if part["sharers"] == sharers]
            means = {name: float(np.mean([part[name] for part in alike])) for name in alike[0]}
            row = {"case": case, "correlation": correlation, "instances": seeds} | means
            print_row(row, list(selects))
            rows.append(row)
    return rows


def print_row(row: Row, names: Sequence[str]) -> None:
    print(
        f"{row['case']:>6} {row['correlation']:>4} {row['sharers']:>3.0f} {row['points']:>7.1f} "
        f"{row['importance']:>10.3f} {row['variance']:>8.3f} {row['hypervolume']:>6.3f} "
        f"{row['seconds']:>7.2f} s",
        flush=True,
    )
    for variant, group in itertools.groupby(names, key=lambda name: name.split()[0]):
        shares = ", ".join(f"{name.split()[1]} {row[name]:.3f}" for name in group)
        print(f"{'':>12}{variant}: {shares}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["9x32"])
    parser.add_argument("--seeds", type=int, default=1, help="instances per case and correlation")
    parser.add_argument("--methods", nargs="*", default=list(selection.METAHEURISTICS))
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    arguments = parser.parse_args()
    hardware = f"{platform.processor() or platform.machine()}, {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "evosax", "scipy")}
    print(f"{hardware}; {versions}")
    print("  case    r   t  points importance variance  HV/t=1      time")
    rows = [
        row
        for case in arguments.cases
        for row in measure_case(case, arguments.seeds, arguments.methods)
    ]
    reporting.write(arguments.json, hardware, versions, rows, {})


if __name__ == "__main__":
    main()
