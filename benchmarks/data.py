"""How many examples per second do building, caching and batching give?

python -m benchmarks.data [--quick] [--json FILE]

Files of MedMNIST's layout and, without --quick, of its real sizes (707 962 images of random pixels,
which compress worst) are written first and are not timed. Rows: building the TFDS dataset, filling
the cache at 28 px, and gathering training batches of 32 from it at random.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import tempfile
import time
from importlib import metadata

import numpy as np
from absl import logging

from f3ocus_jax.data import cache
from f3ocus_jax.data.table import join_tables
from tests.tfds_medvqa import medmnist_files
from tfds_medvqa.build import prepare
from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.medvqa_fl.medvqa_fl_dataset_builder import Builder, MedVQAConfig

QUICK_COUNTS = {"train": 2000, "val": 250, "test": 250}
SIZE, BATCH, BATCHES = 28, 32, 2000


def write_files(folder: pathlib.Path, quick: bool) -> MedVQAConfig:
    """Writes all twelve subsets' files and returns a config that expects them."""
    known = {}
    for name, record in records.load().items():
        counts = QUICK_COUNTS if quick else record.counts
        known[name] = medmnist_files.write(folder, name, counts=counts)[1]
    return MedVQAConfig(name="generated", records=known)


def timed(case: str, examples: int, start: float) -> dict[str, object]:
    """One row of the table."""
    seconds = time.perf_counter() - start
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{case:<8} {examples:>9,} examples  {seconds:8.1f} s  {examples / seconds:>10,.0f} / s  "
        f"peak {peak_mb:,.0f} MB",
        flush=True,
    )
    return {"case": case, "method": "ours", "seconds": seconds, "peak_mb": peak_mb} | {
        "examples_per_second": examples / seconds
    }


def measure(folder: pathlib.Path, config: MedVQAConfig) -> list[dict[str, object]]:
    """Builds, caches and batches one dataset."""
    builder = Builder(config=config, data_dir=folder / "data", file_format="array_record")
    start = time.perf_counter()
    prepare(builder, folder)
    total = builder.info.splits.total_num_examples
    rows = [timed("build", total, start)]
    start = time.perf_counter()
    tables = [cache.load(builder, "generated", split, SIZE) for split in ("train", "test")]
    rows.append(timed("cache", total, start))
    start = time.perf_counter()
    tables = [cache.load(builder, "generated", split, SIZE) for split in ("train", "test")]
    rows.append(timed("reopen", total, start))
    images, draw = join_tables(tables).images, np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(BATCHES):
        images[draw.integers(0, len(images), BATCH)]
    rows.append(timed("batches", BATCH * BATCHES, start))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.data")
    parser.add_argument("--quick", action="store_true", help="30 000 images instead of 707 962")
    parser.add_argument("--json", type=pathlib.Path, help="where to write the rows")
    arguments = parser.parse_args()
    logging.set_verbosity(logging.ERROR)
    hardware = f"{platform.machine()}, {os.cpu_count()} cores"
    versions = {name: metadata.version(name) for name in ("tensorflow-datasets", "pillow", "grain")}
    print(hardware, versions, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(pathlib.Path(folder), write_files(pathlib.Path(folder), arguments.quick))
    summary = {
        f"data.{row['case']}_examples_per_second": row["examples_per_second"] for row in rows
    }
    summary["data.build_seconds"] = rows[0]["seconds"]
    if arguments.json:
        content = {"hardware": hardware, "versions": versions, "rows": rows, "summary": summary}
        arguments.json.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
