"""Time of a step of `f3ocus pretrain` with random examples, by directory of a model and batch size.

    python -m benchmarks.pretraining_step FOLDER... [--batch_sizes 32 64] [--json FILE]

Prints the least seconds of a few steps, on the clock and of all threads' CPU time. On a machine
that does other work the latter says what a quiet one would take, if XLA has one thread
(XLA_FLAGS=--xla_cpu_multi_thread_eigen=false). No peer and no limit: it sizes a training.
"""

import argparse
import pathlib
import platform
import time
from collections.abc import Callable
from importlib import metadata

import jax
import numpy as np

from benchmarks import reporting
from f3ocus_jax import pretrain
from f3ocus_jax.federation.settings import OptimizationConfig
from f3ocus_jax.models import family_of
from f3ocus_jax.models.huggingface import directory as huggingface
from f3ocus_jax.models.spec import ModelSpec
from f3ocus_jax.types import Batch

ANSWERS = tuple(f"answer {index}" for index in range(64))
LOSS, QUESTION_LENGTH = "cross_entropy", 16


def random_batch(spec: ModelSpec, examples: int) -> Batch:
    draw, side = np.random.default_rng(0), spec.config.image_size
    words = draw.integers(1, spec.config.vocab_size, (examples, QUESTION_LENGTH))
    return Batch(
        images_BHWC=draw.integers(0, 256, (examples, side, side, 3)).astype(np.uint8),
        input_ids_BT=words.astype(np.int32),
        attention_mask_BT=np.ones((examples, QUESTION_LENGTH), np.int32),
        labels_B=draw.integers(0, len(ANSWERS), examples).astype(np.int32),
        example_mask_B=np.ones(examples, np.float32),
    )


def step_seconds(folder: pathlib.Path, examples: int, repeats: int) -> tuple[float, float]:
    """Returns the least seconds of a step on the clock, and of CPU time."""
    weights = huggingface.load(folder, key=jax.random.key(0), answers=ANSWERS)
    model = family_of(weights.spec).make_model(weights.spec)
    step, optimizer = pretrain.make_step(model, LOSS, OptimizationConfig())
    state, batch = optimizer.init(weights.params), random_batch(weights.spec, examples)
    params, state, _ = jax.block_until_ready(step(weights.params, state, batch))  # compiles
    clocks: tuple[Callable[[], float], ...] = (time.perf_counter, time.process_time)
    taken = []
    for _ in range(repeats):
        before = [clock() for clock in clocks]
        params, state, _ = jax.block_until_ready(step(params, state, batch))
        taken.append([clock() - start for clock, start in zip(clocks, before, strict=True)])
    on_clock, of_cpu = np.min(taken, axis=0)
    return float(on_clock), float(of_cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=pathlib.Path, help="Hugging Face directories")
    parser.add_argument("--batch_sizes", nargs="+", type=int, default=[32])
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--json", type=pathlib.Path)
    given = parser.parse_args()
    rows, summary = [], {}
    for folder in given.folders:
        for examples in given.batch_sizes:
            on_clock, of_cpu = step_seconds(folder, examples, given.repeats)
            row = {"folder": folder.name, "examples": examples, "seconds": on_clock, "cpu": of_cpu}
            rows.append(row)
            summary[f"{folder.name}, {examples} examples, CPU s"] = of_cpu
            print(
                f"{folder.name}: {examples} examples {on_clock:.2f} s, CPU {of_cpu:.2f} s",
                flush=True,
            )
    hardware = f"{platform.machine()}, {jax.device_count()} {jax.devices()[0].device_kind}"
    versions = {name: metadata.version(name) for name in ("jax", "jaxlib", "flax", "optax")}
    print(f"{hardware}; {versions}")
    reporting.write(given.json, hardware, versions, rows, summary)


if __name__ == "__main__":
    main()
