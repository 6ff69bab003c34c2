"""Made-up results of a sweep, whose methods differ by known amounts."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax.evaluation import correctness
from f3ocus_jax.report import record_files
from f3ocus_jax.sweep.results import ClientResult, RunResult
from f3ocus_jax.types import ClientRecord, RoundRecord, SelectionRecord

CLIENTS = ("slake", "vqa_rad", "vqa_med_2019", "vqa_med_2020", "vqa_med_2021")
GAINS = {"f3ocus": 0.10, "lntk": 0.095, "snip": 0.05, "fd": 0.0, "full": 0.12, "lora": 0.02}
"""Method to accuracy above the weakest one's."""
LEVELS = (0.60, 0.35, 0.55, 0.12, 0.2)
LAYERS, EXAMPLES = 12, 200


def make_results(
    methods: Mapping[str, float] = GAINS,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    bases: Sequence[str] = ("task1",),
    family: str = "vilt",
    rounds: int = 10,
) -> list[RunResult]:
    """Makes one result per base, method and seed; the same arguments give the same results."""
    return [
        make_result(base, family, method, seed, gain, rounds)
        for base in bases
        for method, gain in methods.items()
        for seed in seeds
    ]


def make_result(
    base: str, family: str, method: str, seed: int, gain: float, rounds: int = 10
) -> RunResult:
    """Makes one result; seeds vary by one point, clients of a seed by half a point."""
    generator = np.random.default_rng([seed, *method.encode(), *base.encode()])
    shift = 0.01 * generator.normal()
    finals = [level + gain + shift + 0.005 * generator.normal() for level in LEVELS]
    start = float(np.mean(LEVELS)) - 0.1
    curve_R = 1 - np.exp(-np.arange(rounds + 1) / 3)
    curve_R = (
        start + (np.mean(finals) - start) * curve_R + 0.004 * generator.normal(size=rounds + 1)
    )
    correct = {n: generator.random(EXAMPLES) < f for n, f in zip(CLIENTS, finals, strict=True)}
    all_layers = method in ("full", "lora")
    return RunResult(
        key=f"{base}-{method}-{seed}",
        base=base,
        family=family,
        method=method,
        setting="",
        seed=seed,
        clients={
            name: ClientResult({"accuracy": final, "final": final, "start": 0.1, "best": final})
            for name, final in zip(CLIENTS, finals, strict=True)
        },
        rounds=curve_R.tolist(),
        seconds={"selection": 20.0 + seed, "compiling selection": 1.0 + seed, "training": 100.0},
        costs=dict.fromkeys(
            ("megabits_up", "megabits_total"), 40.0 if all_layers else 10 + 50 * gain
        )
        | {
            "gigaflops_per_example": 90.0 if all_layers else 80.0 + 20 * gain,
            "gigaflops_total": 900.0 if all_layers else 700 + 1000 * gain,
        }
        | {"trainable_parameters": 3e5},
        correct=correct,
        examples=dict.fromkeys(CLIENTS, "0123"),
        algorithm="nsga2" if method == "f3ocus" else "own",
        hypervolume=0.7 + 0.01 * seed,
        picks=[1.0] * LAYERS if all_layers else generator.dirichlet(np.ones(LAYERS)).tolist(),
    )


def with_setting(result: RunResult, setting: str, **changes: object) -> RunResult:
    """Returns the result as one of an arm with a setting of its own."""
    changed = dataclasses.replace(result, setting=setting, key=f"{result.key}-{setting}")
    return dataclasses.replace(changed, **changes)  # type: ignore[arg-type]


CT = {"client": "ct", "accuracy_start": 0.1, "accuracy_final": 0.5, "accuracy_best": 0.6}
"""Row of table.json."""


def write_run(
    folder: pathlib.Path,
    rows: Sequence[Mapping[str, Any]] = (CT,),
    numbers: Sequence[int] = (0, 1, 2),
    config: Mapping[str, Any] | None = None,
) -> pathlib.Path:
    """Writes the files of a finished run on four layers; the records are those of one client."""
    folder.mkdir(exist_ok=True)
    (folder / "partition.json").write_text(json.dumps({"partition_hash": "0123"}))
    mean = {"client": "mean", "megabits_up": 2.0, "gigaflops_total": 3.0}
    table = {"rounds": 2, "clients": rows, "mean": mean, "seconds": {"selection": 4.0}}
    (folder / "table.json").write_text(json.dumps(table))
    (folder / "run.json").write_text(json.dumps({"config": config or {"seed": 0}}))
    metrics = {"accuracy": 0.1, "loss": 1.0}
    start = ClientRecord("ct", 9, 2, None, [], [], [], [], [], None, metrics)
    trained = dataclasses.replace(start, scores=[0.25] * 4)
    chosen = SelectionRecord("lntk", "nsga2", [(0.5, 0.1)], 0, (0.4, 0.2), 0.75)
    for number in numbers:
        kept = correctness.pack(np.arange(4) < number)
        changes = {"layers": [0, number], "correct": kept, "train_loss": 1 / (2 * max(number, 1))}
        client = dataclasses.replace(trained, **changes) if number else start
        selected = chosen if number else None
        record = RoundRecord(number, number / 10, 1.0, [client], selected, {})
        record_files.append_record(folder / "records.jsonl", record)
    return folder
