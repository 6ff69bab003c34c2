"""Speed and quality of the selectors, against pymoo's and the exact front, in one run.

    python -m benchmarks.selection [--quick] [--cases 9 100] [--json FILE] [--picture FILE]

Instances: S_kl ∝ exp(2 (√(1 − r) g_kl + √r c_l)), g and c standard normal, rows normalised; r
correlates the clients. Quality: hypervolume within the box of the exact supported front, as a
fraction of its own. Speed: the least time of all seeds and repeats; the methods take turns. The
peer is pymoo's NSGA-II with a row crossover, its fastest set-up; the other set-ups of pymoo run
once per seed, for their quality. All of pymoo's start from the same first generation as ours.
"""

import argparse
import dataclasses
import functools
import pathlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import reporting, selection_peers, selection_picture
from f3ocus_jax import selection
from f3ocus_jax.selection import choices, exact, problem as problem_lib, seeds

POPULATION = GENERATIONS = 100
REPEATS = 3
CASES = {
    "5": (5, 12, (4, 4)),
    "9": (9, 32, (4, 4)),
    "100": (100, 32, (4, 8)),
    "1000": (1000, 48, (8, 8)),
    "10000": (10_000, 64, (8, 8)),
}
CORRELATIONS = (0.0, 0.8)
LARGE = ("1000", "10000")
PEER, *SLOW_PEERS = "pymoo nsga2 rows", "pymoo nsga2 keys", "pymoo cmopso keys"
Method = Callable[[np.ndarray, np.ndarray, int], np.ndarray]
"""(scores_KL, budgets_K, seed) -> [N, 2], (importance, variance) of a front."""


@dataclasses.dataclass
class Runs:
    """What a method did on the instances of one case and correlation."""

    seconds: list[float] = dataclasses.field(default_factory=list)
    hypervolumes: list[float] = dataclasses.field(default_factory=list)
    shares: list[float] = dataclasses.field(default_factory=list)


def instance(case: str, correlation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws (scores_KL, budgets_K) of a case."""
    return draw_instance(CASES[case], correlation, seed)


def draw_instance(
    shape: tuple[int, int, tuple[int, int]], correlation: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws (scores_KL, budgets_K) for (clients, layers, (least budget, largest budget))."""
    clients, layers, (least, most) = shape
    draw = np.random.default_rng(seed)
    own_KL, common_1L = draw.normal(size=(clients, layers)), draw.normal(size=(1, layers))
    mixed_KL = np.sqrt(1 - correlation) * own_KL + np.sqrt(correlation) * common_1L
    scores_KL = np.exp(2 * mixed_KL)
    scores_KL /= scores_KL.sum(axis=1, keepdims=True)
    return scores_KL, draw.integers(least, most + 1, clients).astype(np.int32)


def hypervolume_within(points_NM: np.ndarray, exact_NM: np.ndarray) -> float:
    """Area that a front dominates in the box of the exact one, both axes scaled to [0, 1]."""
    (most, high), (least, low) = exact_NM[0], exact_NM[-1]
    lost_N = 1 - (points_NM[:, 0] - least) / (most - least)
    variance_N = (points_NM[:, 1] - low) / (high - low)
    area, ceiling = 0.0, 1.0
    for index in np.lexsort((variance_N, lost_N)):
        if lost_N[index] < 1 and variance_N[index] < ceiling:
            area += (1 - lost_N[index]) * (ceiling - variance_N[index])
            ceiling = variance_N[index]
    return area


def make_selects() -> dict[str, selection.Select]:
    """Makes the paper's five."""
    return {
        name: selection.make_selector(name, population=POPULATION, generations=GENERATIONS)
        for name in selection.METAHEURISTICS
    }


def our_method(select: selection.Select) -> Method:
    def run(scores_KL: np.ndarray, budgets_K: np.ndarray, seed: int) -> np.ndarray:
        scores_KL = scores_KL.astype(np.float32)
        chosen = select(jax.random.key(seed), scores_KL, budgets_K, no_front(*scores_KL.shape))
        jax.block_until_ready(chosen)
        valid_P = np.asarray(chosen.front_valid_P)
        return np.asarray(chosen.front_objectives_PM, np.float64)[valid_P]

    return run


@functools.cache
def no_front(clients: int, layers: int) -> jax.Array:
    """Returns the last front of a first round."""
    return jnp.zeros((POPULATION, clients, layers), bool)


def peer_method(name: str) -> Method:
    def run(scores_KL: np.ndarray, budgets_K: np.ndarray, seed: int) -> np.ndarray:
        first_PKL = first_generation(*scores_KL.shape)(scores_KL, budgets_K, seed)
        return selection_peers.run(
            name, scores_KL, budgets_K, first_PKL=first_PKL, generations=GENERATIONS, seed=seed
        )

    return run


@functools.cache
def first_generation(clients: int, layers: int) -> Method:
    """Makes the peers' first generation, which is ours as well."""

    @jax.jit
    def draw(key: jax.Array, scores_KL: jax.Array, budgets_K: jax.Array) -> jax.Array:
        problem = problem_lib.make_problem(scores_KL, budgets_K)
        first = seeds.population(key, problem, POPULATION, no_front(clients, layers))
        return choices.unpack(first.words_PKW, layers)

    return lambda scores_KL, budgets_K, seed: np.asarray(
        draw(jax.random.key(seed), scores_KL, budgets_K)
    )


def supported_front(scores_KL: np.ndarray, budgets_K: np.ndarray, seed: int) -> np.ndarray:
    return exact.supported_front(scores_KL, budgets_K).points_NM


def true_front(scores_KL: np.ndarray, budgets_K: np.ndarray, seed: int) -> np.ndarray:
    return exact.true_front(scores_KL, budgets_K).points_NM


def methods_for(case: str, quick: bool, selects: dict[str, selection.Select]) -> dict[str, Method]:
    """Returns what is measured in a case: what ends in reasonable time there."""
    methods: dict[str, Method] = {"exact": supported_front}
    clients, layers, _ = CASES[case]
    if clients * layers <= exact.TRUE_FRONT_SIZE:
        methods["exact, true front"] = true_front
    methods |= {name: our_method(select) for name, select in selects.items()}
    peers = () if case == "10000" else (PEER,) if quick else (PEER, *SLOW_PEERS)
    # CMOPSO ranks its swarm anew for every particle: minutes for a thousand clients.
    peers = peers[:2] if case == "1000" else peers
    methods |= {name: peer_method(name) for name in peers}
    return methods


def measure_case(case: str, quick: bool) -> list[dict[str, Any]]:
    """Measures every method of a case and prints a row for each."""
    selects, rows = make_selects(), []
    methods = methods_for(case, quick, selects)
    first = instance(case, CORRELATIONS[0], 0)
    first_calls = {name: timed(method, *first, 0)[0] for name, method in methods.items()}
    for correlation in CORRELATIONS:
        runs = {name: Runs() for name in methods}
        for seed in (0,) if quick or case in LARGE else (0, 1, 2):
            repeats = 1 if case == "10000" else REPEATS
            measure_instance(instance(case, correlation, seed), seed, methods, runs, repeats)
        for name, found in runs.items():
            row = {"case": case, "correlation": correlation, "method": name}
            row |= summarise_runs(found) | {"first_call_seconds": first_calls[name]}
            row["programs"] = selects[name]._cache_size() if name in selects else None
            print_row(row)
            rows.append(row)
    return rows


def measure_instance(
    drawn: tuple[np.ndarray, np.ndarray],
    seed: int,
    methods: dict[str, Method],
    runs: dict[str, Runs],
    repeats: int,
) -> None:
    """Times the methods in turn, over and over, and takes their quality once."""
    exact_NM = supported_front(*drawn, seed)
    whole = hypervolume_within(exact_NM, exact_NM)
    for repeat in range(repeats):
        for name, method in methods.items():
            if repeat and name in SLOW_PEERS:
                continue
            seconds, points_NM = timed(method, *drawn, seed)
            runs[name].seconds.append(seconds)
            if repeat == 0:
                area = hypervolume_within(points_NM, exact_NM)
                runs[name].hypervolumes.append(area)
                runs[name].shares.append(area / whole)


def summarise_runs(runs: Runs) -> dict[str, float]:
    return {
        "seconds": min(runs.seconds),
        "hypervolume": float(np.mean(runs.hypervolumes)),
        "share_of_exact": float(np.mean(runs.shares)),
    }


def timed(method: Method, *arguments: Any) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    points_NM = method(*arguments)
    return time.perf_counter() - start, points_NM


def print_row(row: dict[str, Any]) -> None:
    print(
        f"{row['case']:>6} {row['correlation']:>4} {row['method']:<18} {row['seconds']:>9.4f} s"
        f" {row['first_call_seconds']:>7.2f} s {row['hypervolume']:>7.3f}"
        f" {row['share_of_exact']:>7.3f}",
        flush=True,
    )


def summarise(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Reduces the rows to the figures that design targets are set for."""
    summary: dict[str, float] = {}
    for case in dict.fromkeys(row["case"] for row in rows):
        summary |= summarise_case(case, [row for row in rows if row["case"] == case])
    own_rows = [row for row in rows if row["method"] in selection.METAHEURISTICS]
    summary["selection.first_call_seconds"] = max(row["first_call_seconds"] for row in own_rows)
    summary["selection.recompiles"] = max(row["programs"] for row in own_rows) - 1
    return summary


def summarise_case(case: str, rows: list[dict[str, Any]]) -> dict[str, float]:
    """Compares the five with the exact front and with the peer, at the worse correlation."""

    def values(name: str, field: str) -> np.ndarray:
        return np.array([row[field] for row in rows if row["method"] == name])

    ours = tuple(selection.METAHEURISTICS)
    shares = [values(name, "share_of_exact").mean() for name in ours]
    summary = {
        f"selection.exact_seconds_{case}": values("exact", "seconds").max(),
        f"selection.hv_best_{case}": max(shares),
        f"selection.hv_worst_{case}": min(shares),
    }
    peer = values(PEER, "seconds")
    if peer.size:
        ratios = {name: np.min(peer / values(name, "seconds")) for name in ours}
        above = [values(n, "hypervolume") - values(PEER, "hypervolume") for n in ours]
        summary |= {
            f"selection.speedup_pymoo_{case}": ratios["nsga2"],
            f"selection.speedup_pymoo_slowest_{case}": min(ratios.values()),
            f"selection.hv_above_pymoo_least_{case}": np.min(above),
        }
    return {name: float(value) for name, value in summary.items()}


def draw_picture(path: pathlib.Path) -> None:
    """Draws the fronts of a federation of the paper's size, clients correlated."""
    scores_KL, budgets_K = instance("9", 0.8, 0)
    fronts = {
        name: our_method(select)(scores_KL, budgets_K, 0) for name, select in make_selects().items()
    }
    own = selection.make_selector("own", population=POPULATION, generations=1)
    own_1M = our_method(own)(scores_KL, budgets_K, 0)
    selection_picture.draw(path, true_front(scores_KL, budgets_K, 0), fronts, own_1M[0])


def report(cases: list[str], quick: bool, path: pathlib.Path | None) -> None:
    """Measures the cases, printing as it goes, and writes what `--json` asks for."""
    hardware = f"{platform.processor() or platform.machine()}, {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "evosax", "pymoo", "scipy")}
    print(f"{hardware}; {versions}")
    print("  case    r method                  time   first call   HVin   share of exact")
    rows = [row for case in cases for row in measure_case(case, quick)]
    summary = summarise(rows)
    reporting.show(summary)
    reporting.write(path, hardware, versions, rows, summary)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within two minutes on 2 cores")
    parser.add_argument("--json", type=pathlib.Path, help="where to write rows and summary")
    parser.add_argument("--cases", nargs="+", choices=CASES, help="only these numbers of clients")
    parser.add_argument("--picture", type=pathlib.Path, help="draw the fronts here; no timing")
    arguments = parser.parse_args()
    if arguments.picture:
        draw_picture(arguments.picture)
        return
    cases = arguments.cases or [case for case in CASES if not (arguments.quick and case == "10000")]
    report(cases, arguments.quick, arguments.json)


if __name__ == "__main__":
    main()
