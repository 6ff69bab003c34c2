"""The five metaheuristics as published and as memetic algorithms, against the true front.

    python -m benchmarks.selection_variants [--cases 6x6] [--seeds 2] [--methods abc] [--json FILE]

Instances as in `benchmarks/selection.py`; the true front is found by integer programmes. Both
variants have a population and generations of 100, so 10 100 evaluations; the memetic ones evaluate
2 500 neighbours of the front as well. `hypervolume`: within the box of the true front, as a
fraction of its own, the mean and the least over instances. `found`: points of the true front that
are on the front found. `apart`: fraction of the clients' rows in which the picks of two of the
five differ, the mean over pairs. Times are CPU seconds of all threads, the median over instances;
the first call of a search, which compiles, comes before.
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

CASES = {
    "6x6": (6, 6, (2, 2)),
    "5x12": (5, 12, (4, 4)),
    "8x12": (8, 12, (2, 6)),
    "10x12": (10, 12, (4, 4)),
    "9x32": (9, 32, (4, 4)),
}
Row = dict[str, Any]


def points_found(points_NM: np.ndarray, true_NM: np.ndarray) -> int:
    """Counts the points of the true front that are among others, up to rounding in float32."""
    same_NNM = np.isclose(points_NM[None], true_NM[:, None], rtol=0, atol=5e-6)
    return int(np.any(np.all(same_NNM, axis=2), axis=1).sum())


def measure(
    select: selection.Select, drawn: tuple[np.ndarray, np.ndarray], true_NM: np.ndarray, seed: int
) -> tuple[Row, np.ndarray]:
    """Measures one search on one instance.

    Returns:
      (its measurements; its pick, bool [K, L]).
    """
    scores_KL, budgets_K = drawn
    inputs = (scores_KL.astype(np.float32), budgets_K, base.no_front(*scores_KL.shape))
    method = base.our_method(select)
    start = time.process_time()
    points_NM = method(*drawn, seed)
    seconds = time.process_time() - start
    whole = base.hypervolume_within(true_NM, true_NM)
    row = {
        "seconds": seconds,
        "hypervolume": base.hypervolume_within(points_NM, true_NM) / whole,
        "found": points_found(points_NM, true_NM),
        "points": len(true_NM),
    }
    return row, np.asarray(select(jax.random.key(seed), *inputs).mask_KL)


def measure_case(case: str, seeds: int, methods: Sequence[str]) -> list[Row]:
    """Measures both variants of the searches on a case's instances and prints a row for each."""
    selects = {
        (variant, name): selection.make_selector(
            name, population=base.POPULATION, generations=base.GENERATIONS, variant=variant
        )
        for variant in selection.VARIANTS
        for name in methods
    }
    first = base.draw_instance(CASES[case], 0.0, 0)
    for select in selects.values():
        base.our_method(select)(*first, 0)
    found: dict[tuple[str, str], list[Row]] = {key: [] for key in selects}
    apart: dict[str, list[float]] = {variant: [] for variant in selection.VARIANTS}
    for correlation, seed in itertools.product(base.CORRELATIONS, range(seeds)):
        drawn = base.draw_instance(CASES[case], correlation, seed)
        true_NM = base.true_front(*drawn, seed)
        picks = {}
        for key, select in selects.items():
            row, picks[key] = measure(select, drawn, true_NM, seed)
            found[key].append(row)
        for variant, values in apart.items():
            masks = [mask_KL for key, mask_KL in picks.items() if key[0] == variant]
            values += [
                float(np.any(first_KL != second_KL, axis=1).mean())
                for first_KL, second_KL in itertools.combinations(masks, 2)
            ]
    rows = []
    for (variant, name), parts in found.items():
        row = {"case": case, "variant": variant, "method": name} | summarise(parts)
        row["apart"] = float(np.mean(apart[variant] or [0.0]))
        print_row(row)
        rows.append(row)
    return rows


def summarise(parts: list[Row]) -> Row:
    return {
        "instances": len(parts),
        "seconds": float(np.median([part["seconds"] for part in parts])),
        "hypervolume": float(np.mean([part["hypervolume"] for part in parts])),
        "least_hypervolume": min(part["hypervolume"] for part in parts),
        "found": sum(part["found"] for part in parts),
        "points": sum(part["points"] for part in parts),
    }


def print_row(row: Row) -> None:
    print(
        f"{row['case']:>6} {row['variant']:<10} {row['method']:<6} {row['seconds'] * 1e3:>8.1f} ms "
        f"{row['hypervolume']:>6.3f} {row['least_hypervolume']:>6.3f} "
        f"{row['found']:>5}/{row['points']:<5} {row['apart']:.2f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--seeds", type=int, default=2, help="instances per case and correlation")
    parser.add_argument("--methods", nargs="+", default=list(selection.METAHEURISTICS))
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    arguments = parser.parse_args()
    hardware = f"{platform.processor() or platform.machine()}, {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "evosax", "scipy")}
    print(f"{hardware}; {versions}")
    print("  case variant    method     time   mean  least  found       apart")
    rows = [
        row
        for case in arguments.cases
        for row in measure_case(case, arguments.seeds, arguments.methods)
    ]
    reporting.write(arguments.json, hardware, versions, rows, {})


if __name__ == "__main__":
    main()
