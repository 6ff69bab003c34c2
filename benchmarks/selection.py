"""How fast and how good are the selectors? Ours, pymoo's, and the exact front, in one run.

    python -m benchmarks.selection [--quick] [--json FILE] [--picture FILE]

Instances: S_kl ∝ exp(2 (√(1 − r) g_kl + √r c_l)), g and c standard normal, rows normalised; r
correlates the clients. Quality: hypervolume inside the box of the exact supported front, as a
share of its own.
"""

import argparse
import json
import pathlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import numpy as np

from benchmarks import selection_peers
from f3ocus_jax import selection
from f3ocus_jax.selection import exact

POPULATION = GENERATIONS = 100
CASES = {
    "5": (5, 12, (4, 4)),
    "9": (9, 32, (4, 4)),
    "100": (100, 32, (4, 8)),
    "1000": (1000, 48, (8, 8)),
    "10000": (10_000, 64, (8, 8)),
}
CORRELATIONS = (0.0, 0.8)
LARGE = ("1000", "10000")
PEERS = ("pymoo nsga2 rows", "pymoo nsga2 keys", "pymoo cmopso keys")
Method = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(scores_KL, budgets_K, seed) -> [N, 2], (importance, variance) of a front."""


def instance(case: str, correlation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    clients, layers, (least, most) = CASES[case]
    draw = np.random.default_rng(seed)
    own_KL, common_1L = draw.normal(size=(clients, layers)), draw.normal(size=(1, layers))
    mixed_KL = np.sqrt(1 - correlation) * own_KL + np.sqrt(correlation) * common_1L
    scores_KL = np.exp(2 * mixed_KL)
    scores_KL /= scores_KL.sum(axis=1, keepdims=True)
    return scores_KL, draw.integers(least, most + 1, clients).astype(np.int32)


def hypervolume_inside(points_NM: np.ndarray, exact_NM: np.ndarray) -> float:
    """Area that a front dominates in the box of the exact one, both axes scaled to [0, 1]."""
    (most, high), (least, low) = exact_NM[0], exact_NM[-1]
    lost_N = 1 - (points_NM[:, 0] - least) / (most - least)
    variance_N = (points_NM[:, 1] - low) / (high - low)
    area, ceiling = 0.0, 1.0
    for place in np.lexsort((variance_N, lost_N)):
        if lost_N[place] < 1 and variance_N[place] < ceiling:
            area += (1 - lost_N[place]) * (ceiling - variance_N[place])
            ceiling = variance_N[place]
    return area


def our_method(name: str, selects: dict[str, selection.Select]) -> Method:
    def run(scores_KL: np.ndarray, budgets_K: np.ndarray, seed: int) -> np.ndarray:
        seeds_PKL = np.zeros((POPULATION, *scores_KL.shape), bool)
        scores_KL = scores_KL.astype(np.float32)
        chosen = selects[name](jax.random.key(seed), scores_KL, budgets_K, seeds_PKL)
        jax.block_until_ready(chosen)
        valid_P = np.asarray(chosen.front_valid_P)
        return np.asarray(chosen.front_objectives_PM, np.float64)[valid_P]

    return run


def peer_method(name: str) -> Method:
    return lambda scores_KL, budgets_K, seed: selection_peers.run(
        name, scores_KL, budgets_K, population=POPULATION, generations=GENERATIONS, seed=seed
    )


def exact_method(scores_KL: np.ndarray, budgets_K: np.ndarray, seed: int) -> np.ndarray:
    return exact.supported_front(scores_KL, budgets_K).points_NM


def methods_for(case: str, quick: bool, selects: dict[str, selection.Select]) -> dict[str, Method]:
    methods: dict[str, Method] = {"exact": exact_method}
    methods |= {name: our_method(name, selects) for name in selection.METAHEURISTICS}
    if case != "10000":
        peers = PEERS[:1] if quick or case in LARGE else PEERS
        methods |= {name: peer_method(name) for name in peers}
    return methods


def measure_case(case: str, quick: bool, repeats: int) -> list[dict[str, Any]]:
    """Times every method on the same instances, one after the other, `repeats` times over."""
    selects = {
        name: selection.create(name, population=POPULATION, generations=GENERATIONS)
        for name in selection.METAHEURISTICS
    }
    rows = []
    methods, first_calls = methods_for(case, quick, selects), {}
    for correlation in CORRELATIONS:
        seconds: dict[str, list[float]] = {name: [] for name in methods}
        shares: dict[str, list[float]] = {name: [] for name in methods}
        insides: dict[str, list[float]] = {name: [] for name in methods}
        for seed in (0,) if quick or case in LARGE else (0, 1, 2):
            scores_KL, budgets_K = instance(case, correlation, seed)
            exact_NM = exact_method(scores_KL, budgets_K, seed)
            whole = hypervolume_inside(exact_NM, exact_NM)
            for repeat in range(repeats):
                for name, method in methods.items():
                    if name not in first_calls:
                        first_calls[name] = _timed(method, scores_KL, budgets_K, seed)[0]
                    if repeat and name.startswith("pymoo"):
                        continue
                    duration, points_NM = _timed(method, scores_KL, budgets_K, seed)
                    seconds[name].append(duration)
                    if repeat == 0:
                        insides[name].append(hypervolume_inside(points_NM, exact_NM))
                        shares[name].append(insides[name][-1] / whole)
        for name in methods:
            rows.append(
                {
                    "case": case,
                    "correlation": correlation,
                    "method": name,
                    "seconds": float(np.min(seconds[name])),
                    "first_call_seconds": first_calls[name],
                    "hypervolume": float(np.mean(insides[name])),
                    "share_of_exact": float(np.mean(shares[name])),
                    "programs": selects[name]._cache_size() if name in selects else None,
                }
            )
            _print_row(rows[-1])
    return rows


def _timed(method: Method, *arguments: Any) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    points_NM = method(*arguments)
    return time.perf_counter() - start, points_NM


def _print_row(row: dict[str, Any]) -> None:
    print(
        f"{row['case']:>6} {row['correlation']:>4} {row['method']:<18} {row['seconds']:>9.4f} s"
        f" {row['first_call_seconds']:>7.2f} s {row['hypervolume']:>7.3f}"
        f" {row['share_of_exact']:>7.3f}",
        flush=True,
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Reduces the rows to the figures that design targets are set for."""
    summary: dict[str, float] = {}
    ours = tuple(selection.METAHEURISTICS)

    def values(case: str, name: str, field: str) -> list[float]:
        return [row[field] for row in rows if (row["case"], row["method"]) == (case, name)]

    for case in dict.fromkeys(row["case"] for row in rows):
        if case in ("100", "1000", "10000"):
            summary[f"selection.exact_seconds_{case}"] = max(values(case, "exact", "seconds"))
        means = {name: np.mean(values(case, name, "share_of_exact")) for name in ours}
        summary[f"selection.hv_best_{case}"] = float(max(means.values()))
        summary[f"selection.hv_worst_{case}"] = float(min(means.values()))
        peer = values(case, PEERS[0], "seconds")
        if peer:
            ratios = {n: np.divide(peer, values(case, n, "seconds")).min() for n in ours}
            summary[f"selection.speedup_pymoo_{case}"] = float(ratios["nsga2"])
            summary[f"selection.speedup_pymoo_slowest_{case}"] = float(min(ratios.values()))
    own_rows = [row for row in rows if row["method"] in ours]
    summary["selection.first_call_seconds"] = max(row["first_call_seconds"] for row in own_rows)
    summary["selection.recompiles"] = max(row["programs"] for row in own_rows) - 1
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within two minutes on 2 cores")
    parser.add_argument("--json", type=pathlib.Path, help="where to write rows and summary")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="only these numbers of clients")
    arguments = parser.parse_args()
    cases = arguments.cases or [case for case in CASES if not (arguments.quick and case == "10000")]
    device = jax.devices()[0]
    hardware = f"{platform.processor() or platform.machine()}, {device.device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "evosax", "pymoo", "scipy")}
    print(f"{hardware}; {versions}")
    print("  case    r method                 time   first call   HVin   share of exact")
    rows = [row for case in cases for row in measure_case(case, arguments.quick, 3)]
    summary = summarise(rows)
    for name, value in summary.items():
        print(f"{name:<42} {value:.4g}")
    if arguments.json:
        report = {"hardware": hardware, "versions": versions, "rows": rows, "summary": summary}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
