"""Cost and accuracy of the top eigenvalue of every layer's neural tangent kernel.

    python -m benchmarks.importance [--quick] [--cases NAME ...] [--json FILE]

Pre-norm transformer blocks around 17 tokens with a linear readout of the mean token. Ours is
`importance.layerwise_ntk`, method "auto". Peers (`importance_peers.py`): the dense kernel by
`vmap(jacrev)` and `eigvalsh` in JAX and, where torch is installed, with torch.func; and power
iteration that goes through the whole network in every product. Errors are against float64:
`eigvalsh` of the dense kernel, or ARPACK where that would be too large. A round is 50 local steps
of 32 examples with 4 of 12 layers trained.
"""

import argparse
import dataclasses
import functools
import math
import os
import pathlib
import platform
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import client_step, importance_peers, reporting
from benchmarks.importance_peers import Arrays, Case
from f3ocus_jax import importance
from f3ocus_jax.clients import LocalTask, local
from f3ocus_jax.importance import LntkOptions, ScoreContext, lntk
from f3ocus_jax.importance.plan import EXPECTED_ITERATIONS, KernelPlan
from f3ocus_jax.models import units
from f3ocus_jax.types import Params

ALL = ("dense", "torch", "power")
CASES = {
    "k32": Case(layers=6, width=128, examples=16, answers=32, peers=ALL),
    "k128": Case(layers=6, width=128, examples=16, answers=128, peers=("dense", "power")),
    "12x64": Case(layers=12, width=64, examples=4, answers=10, peers=ALL),
    "12x128": Case(layers=12, width=128, examples=16, answers=32, peers=("dense", "power")),
    "12x256": Case(layers=12, width=256, examples=16, answers=32, peers=("power",)),
    "12x256n64": Case(layers=12, width=256, examples=64, answers=10, peers=()),
    "12x128k3129": Case(layers=12, width=128, examples=16, answers=3129, peers=("power",)),
    "12x256loss": Case(layers=12, width=256, examples=16, answers=32, peers=("dense",), loss=True),
}
QUICK = ("k32", "12x64")
STEPS, BATCH, MEASURED_STEPS, PROBES = 50, 32, 5, 16
TOO_SLOW = 5
"""Seconds."""

CHANGE = 0.01
"""Relative change of the weights between two rounds that warm starts are measured at."""


def network(case: Case, rows_L: Params, arrays: Arrays) -> importance.Network:
    """The case's network around its batch."""
    readout = functools.partial(importance_peers.readout, case, arrays)
    return importance.Network(
        lambda row, frozen_row, hidden, context: importance_peers.block(row, hidden),
        readout,
        rows_L,
        {},
        arrays.hidden,
    )


def ours(case: Case, arrays: Arrays) -> Callable[[Params], Any]:
    return jax.jit(lambda rows_L: importance.layerwise_ntk(network(case, rows_L, arrays)))


def matmul_rate(size: int = 2048, repeats: int = 5) -> float:
    """Operations per second of a float32 matrix product on this machine."""
    matrix = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a, b: jnp.matmul(a, b, precision="highest"))
    seconds = min(timed(lambda: product(matrix, matrix)) for _ in range(repeats + 1))
    return 2.0 * size**3 / seconds


def timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def device_megabytes(compiled: Any) -> float:
    """Peak memory of a program without its arguments, according to XLA."""
    memory = compiled.memory_analysis()
    return (memory.temp_size_in_bytes + memory.output_size_in_bytes) / 1e6


def measure(name: str, case: Case, repeats: int) -> list[dict[str, Any]]:
    """Times all methods of a case in turn, and compares their values with float64."""
    arrays = importance_peers.make_arrays(case)
    methods = {"ours": ours(case, arrays)} | importance_peers.methods(case, arrays)
    expected_L = importance_peers.reference(case, arrays)
    plan = importance.make_plan(network(case, arrays.rows_L, arrays))
    first, seconds, values, peak = {}, {}, {}, {}
    for method, run in methods.items():
        start = time.perf_counter()
        values[method] = jax.block_until_ready(run(arrays.rows_L))
        first[method] = time.perf_counter() - start
        if hasattr(run, "lower"):
            peak[method] = device_megabytes(run.lower(arrays.rows_L).compile())
    for _ in range(repeats):
        for method, run in methods.items():
            # Too slow to be repeated, and far from a tie.
            if first[method] < TOO_SLOW or method not in seconds:
                taken = timed(functools.partial(run, arrays.rows_L))
                seconds[method] = min(taken, seconds.get(method, math.inf))
    rate, rows = matmul_rate(), []
    for method in methods:
        found = values[method]
        found_L = found.values_LM[:, 0] if method == "ours" else found
        row: dict[str, Any] = {
            "case": name,
            "method": method,
            "seconds": seconds[method],
            "first_call_seconds": first[method],
            "peak_mb": peak.get(method),
            "relative_error": float(np.max(np.abs(np.asarray(found_L) / expected_L - 1))),
        }
        if method == "ours":
            flops = counted(plan, found)
            row |= {"way": plan.method, "iterations": float(np.mean(found.iterations_LM))}
            row |= {"gigaflops": flops / 1e9, "converged": bool(np.all(found.converged_LM))}
            row["flop_efficiency"] = flops / row["seconds"] / rate
        rows.append(row)
        show(row)
    return rows


def counted(plan: KernelPlan, found: importance.Spectrum) -> float:
    """Operations that ran: those of the plan, with the actual number of iterations."""
    flops = plan.flops[plan.method]
    if plan.method == "lanczos":
        flops *= float(np.mean(found.iterations_LM)) / EXPECTED_ITERATIONS
    return flops


def show(row: dict[str, Any]) -> None:
    peak = "" if row["peak_mb"] is None else f"peak {row['peak_mb']:>7.0f} MB"
    ways = (
        ""
        if "way" not in row
        else (
            f"  {row['way']}, {row['iterations']:.1f} iterations, {row['gigaflops']:.0f} GFLOP, "
            f"efficiency {row['flop_efficiency']:.2f}"
        )
    )
    print(
        f"{row['case']:<12} {row['method']:<6} {row['seconds']:>8.3f} s  first call "
        f"{row['first_call_seconds']:>6.1f} s  {peak:<16} error {row['relative_error']:.1e}{ways}",
        flush=True,
    )


def a_round(width: int, unit: str) -> dict[str, Callable[[], Any]]:
    """Makes a client's local training, and its scoring with cold and with warm start."""
    adapter_size = 48 if unit == "adapter" else 0
    model, batch = client_step.make_model(width, adapter_size), client_step.make_batch(BATCH)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), unit)
    draw = np.random.default_rng(0)
    rows_L = jax.tree.map(lambda leaf: leaf + 0.02 * normal(draw, leaf), rows_L)
    moved_L = jax.tree.map(lambda leaf: leaf * (1 + CHANGE * normal(draw, leaf)), rows_L)
    common = {"unit": unit, "loss": "cross_entropy"}
    optimizer = optax.adamw(1e-3)
    context = ScoreContext(model, unit, "cross_entropy", optimizer, "sum", probe_batches=1)
    score = jax.jit(lntk.make_lntk(context, LntkOptions(memory_limit=2**30, warm_start=True)))
    train = jax.jit(
        local.make_local_training(model, optimizer=optimizer, skip_frozen=True, **common)
    )
    batches_S = jax.tree.map(lambda leaf: jnp.stack([leaf] * MEASURED_STEPS), batch)
    choice = client_step.choice_of(client_step.CHOICES["4_spread"])
    task = LocalTask(choice, batches_S, jnp.int32(MEASURED_STEPS))
    probe, key = jax.tree.map(lambda leaf: leaf[:PROBES], batch), jax.random.key(1)
    nothing_LNC = jnp.zeros((client_step.LAYERS, PROBES, client_step.ANSWERS))
    known_LNC = score(frozen, rows_L, head, probe, key, nothing_LNC).vectors_LNC
    return {
        "training": lambda: train(frozen, rows_L, head, task),
        "cold": lambda: score(frozen, moved_L, head, probe, key, nothing_LNC),
        "warm": lambda: score(frozen, moved_L, head, probe, key, known_LNC),
    }


def normal(draw: np.random.Generator, leaf: jax.Array) -> np.ndarray:
    return draw.normal(size=leaf.shape).astype(leaf.dtype)


def share_of_round(width: int, unit: str, repeats: int) -> dict[str, Any]:
    """Times the scoring of a client's 12 layers relative to its local training of a round."""
    runs = a_round(width, unit)
    first = {name: timed(run) for name, run in runs.items()}
    best = dict.fromkeys(runs, math.inf)
    for _ in range(repeats):
        best = {name: min(best[name], timed(run)) for name, run in runs.items()}
    training = best["training"] * STEPS / MEASURED_STEPS
    row: dict[str, Any] = {
        "case": f"round, width {width}, {unit}",
        "method": "ours",
        "first_call_seconds": first["cold"],
        "round_seconds": training,
    }
    for name in ("cold", "warm"):
        iterations = float(np.mean(runs[name]().iterations_L))
        row |= {f"{name}_seconds": best[name], f"{name}_iterations": iterations}
        row[f"share_{name}"] = best[name] / training
        print(
            f"{row['case']:<26} {training:.2f} s, scoring {name} {best[name]:.3f} s: "
            f"{row[f'share_{name}']:.3f} of it, {iterations:.1f} iterations",
            flush=True,
        )
    return row


def summarise(rows: list[dict[str, Any]], rounds: list[dict[str, Any]]) -> dict[str, float]:
    """Reduces the rows to the figures with targets."""
    by_case = {(row["case"], row["method"]): row for row in rows}
    mine = [row for row in rows if row["method"] == "ours"]
    summary = {}
    for figure in ("relative_error", "first_call_seconds"):
        if mine:
            summary[f"importance.{figure}"] = max(row[figure] for row in mine)
    for case, method in by_case:
        if case in ("k32", "k128") and method in ("dense", "torch", "power"):
            peer, own = by_case[case, method], by_case[case, "ours"]
            summary[f"importance.speedup_{method}_{case}"] = peer["seconds"] / own["seconds"]
            if method == "dense":
                ratio = own["peak_mb"] / peer["peak_mb"]
                summary[f"importance.memory_ratio_{case}"] = ratio
    wide = [row["flop_efficiency"] for row in mine if "x256" in row["case"]]
    if wide:
        summary["importance.flop_efficiency"] = min(wide)
    for name in ("cold", "warm"):
        if rounds:
            worst = max(row[f"share_{name}"] for row in rounds)
            summary[f"importance.share_of_round_{name}"] = worst
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="end within two minutes on 2 cores")
    parser.add_argument(
        "--cases", nargs="*", choices=CASES, help="instead of all; none: the share of a round alone"
    )
    parser.add_argument("--json", type=pathlib.Path, help="where to write rows and summary")
    arguments = parser.parse_args()
    hardware = f"{platform.machine()}, {os.cpu_count()} cores, {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "flax", "optax")}
    versions |= importance_peers.versions()
    print(f"{hardware}; {versions}; {matmul_rate() / 1e9:.0f} GFLOP/s in matrix products")
    names = arguments.cases
    if names is None:
        names = QUICK if arguments.quick else tuple(CASES)
    repeats = 1 if arguments.quick else 5
    cases = {name: CASES[name] for name in names}
    if arguments.quick:  # power iteration alone would take a minute
        for name, case in cases.items():
            peers = tuple(peer for peer in case.peers if peer != "power")
            cases[name] = dataclasses.replace(case, peers=peers)
    rows = [row for name, case in cases.items() for row in measure(name, case, repeats)]
    layouts = [(256, "adapter")] if arguments.quick else [(256, "adapter"), (256, "block")]
    rounds = [] if arguments.cases else [share_of_round(*each, repeats) for each in layouts]
    summary = summarise(rows, rounds)
    reporting.show(summary)
    reporting.write(arguments.json, hardware, versions, rows + rounds, summary)


if __name__ == "__main__":
    main()
