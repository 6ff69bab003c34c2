"""Throughput and memory of building, caching, partitioning and batching a dataset.

python -m benchmarks.data [--quick] [--json FILE]

Files of MedMNIST's layout and, without --quick, of its real sizes (707 962 images of random pixels,
which compress worst) are written first, by another process, and are not timed. Rows: building the
TFDS dataset, filling the cache at 28 px, reading it again, assigning it to the nine clients with
all questions tokenised, gathering training batches of 32 at random, and for comparison the examples
that one training step takes: ViLT with 12 layers of width 128, four adapters trained.

Wall time depends on the load of the machine; CPU time is that of all threads of this process.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import pathlib
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging

from benchmarks import reporting
from configs import medvqa_fl
from f3ocus_jax.clients import Choice, gradient
from f3ocus_jax.config import parsing
from f3ocus_jax.data import cache
from f3ocus_jax.data.examples import Examples
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_federation
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import foundation as foundation_lib, units
from tests.tfds_medvqa import medmnist_files
from tfds_medvqa.build import prepare
from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import Builder, MedVQAConfig

QUICK_COUNTS = {"train": 2000, "val": 250, "test": 250}
NAME, SIZE, BATCH, BATCHES, STEPS = "generated", 28, 32, 2000, 10

Result = TypeVar("Result")


def write_files(folder: pathlib.Path, quick: bool) -> dict[str, records.Record]:
    """Writes all twelve subsets' files and returns what they hold."""
    known = {}
    for name, record in records.load().items():
        counts = QUICK_COUNTS if quick else record.counts
        known[name] = medmnist_files.write(folder, name, counts=counts)[1]
    return known


def in_new_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Runs a function in a separate process, so that its memory is not counted."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


class Clock:
    """Measures the time and memory between two rows of the table."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.restart()

    def restart(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def row(self, case: str, examples: int) -> None:
        seconds, cpu = time.perf_counter() - self.wall, time.process_time() - self.cpu
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{case:<8} {examples:>9,} examples  {seconds:8.1f} s  {cpu:8.1f} s of CPU  "
            f"{examples / seconds:>10,.0f} / s  peak {peak_mb:,.0f} MB",
            flush=True,
        )
        self.rows.append(
            {"case": case, "method": "ours", "seconds": seconds, "cpu_seconds": cpu}
            | {"peak_mb": peak_mb, "examples_per_second": examples / seconds}
        )
        self.restart()


def measure(folder: pathlib.Path, known: dict[str, records.Record]) -> list[dict[str, Any]]:
    """Builds, caches, partitions and batches one dataset."""
    config = MedVQAConfig(name=NAME, records=known)
    Builder.builder_configs[NAME] = config
    Builder.BUILDER_CONFIGS = [*Builder.BUILDER_CONFIGS, config]
    builder = Builder(config=config, data_dir=folder / "data", file_format="array_record")
    clock = Clock()
    prepare(builder, folder)
    total = builder.info.splits.total_num_examples
    clock.row("build", total)
    for case in ("cache", "reopen"):
        for split in ("train", "test"):
            cache.load(builder, f"medvqa_fl/{NAME}", split, Canvas(SIZE))
        clock.row(case, total)
    federation = read_federation(
        data_config(folder), canvas=Canvas(SIZE), tokenizer=load_tokenizer()
    )
    clock.row("deal", total)
    clients, draw = [client.train for client in federation.clients], np.random.default_rng(0)
    clock.restart()
    for index in range(BATCHES):
        examples = clients[index % len(clients)]
        examples.batch(draw.integers(0, len(examples), BATCH))
    clock.row("batches", BATCH * BATCHES)
    train_steps(clients[0], len(federation.vocabulary), clock)
    return clock.rows


def data_config(folder: pathlib.Path) -> DataConfig:
    """Task 3's settings for the generated dataset."""
    settings = parsing.parse(DataConfig, medvqa_fl.get_config().data, "data.")
    folders = {"data_dir": str(folder / "data"), "manual_dir": str(folder)}
    return dataclasses.replace(settings, datasets=(f"medvqa_fl/{NAME}",), **folders)


def train_steps(examples: Examples, answers: int, clock: Clock) -> None:
    """Differentiates four adapters and the head of a random ViLT on batches of one client."""
    raw = medvqa_fl.get_config()
    raw.model.architecture.update(
        {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512}
    )
    config = parsing.parse(ExperimentConfig, raw)
    names = [str(index) for index in range(answers)]
    foundation = foundation_lib.load(config.model, names, jax.random.key(0))
    unit, loss = config.training.unit, config.model.loss
    frozen, rows_L, head = units.split(foundation.params, unit)
    slope = gradient.make_gradient(foundation.model, unit=unit, loss=loss, skip_frozen=True)
    choice = Choice(np.array([2, 5, 8, 11], np.int32))
    step = functools.partial(jax.jit(slope), frozen, rows_L, choice, (choice.take(rows_L), head))
    jax.block_until_ready(step(examples.batch(np.arange(BATCH))))
    clock.restart()
    for index in range(STEPS):
        jax.block_until_ready(step(examples.batch(np.arange(BATCH) + index)))
    clock.row("step", BATCH * STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data")
    parser.add_argument("--quick", action="store_true", help="30 000 images instead of 707 962")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    arguments = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    versions = {name: metadata.version(name) for name in ("tensorflow-datasets", "pillow", "grain")}
    print(hardware, versions, flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rows = measure(folder, in_new_process(write_files, folder, arguments.quick))
    by_case = {row["case"]: row for row in rows}
    summary = {
        f"data.{case}_examples_per_second": by_case[case]["examples_per_second"] for case in by_case
    }
    summary["data.build_seconds"] = by_case["build"]["seconds"]
    summary["data.build_peak_mb"] = by_case["build"]["peak_mb"]
    summary["data.batches_per_step"] = (
        by_case["batches"]["examples_per_second"] / by_case["step"]["examples_per_second"]
    )
    print(
        f"batches come {summary['data.batches_per_step']:,.0f} times as fast as a step takes them"
    )
    reporting.write(arguments.json, hardware, versions, rows, summary)


if __name__ == "__main__":
    main()
