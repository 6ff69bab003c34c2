"""Results of the parts of `benchmarks/gpu.sh`: a JSON line per case, in a file of the hardware."""

import argparse
import json
import pathlib
import re
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax")


def parse(about: str, *, cases: bool = False) -> argparse.Namespace:
    """Parses the options that all parts have.

    Args:
      about: First line of the part's docstring.
      cases: True for a part that takes the name of a model.
    """
    parser = argparse.ArgumentParser(description=about)
    if cases:
        parser.add_argument("model", help="a key of `models.published.PUBLISHED`")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the results")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, to try the part on a CPU")
    return parser.parse_args()


def write(folder: pathlib.Path, part: str, row: dict[str, Any]) -> None:
    """Appends a result to the file of this hardware as soon as it is measured, and prints it."""
    device = jax.devices()[0]
    name = re.sub(r"\W+", "_", device.device_kind.lower()).strip("_")
    versions = {name: metadata.version(name) for name in PACKAGES}
    hardware = {"hardware": device.device_kind, "devices": jax.device_count()}
    line = json.dumps({"part": part, **row, **hardware, "versions": versions})
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.jsonl").open("a", encoding="utf-8") as results:
        results.write(f"{line}\n")
    print(part, row, flush=True)


def peak_memory() -> int | None:
    """Most bytes that this process has held on the first device; None where none are counted."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def measure(run: Callable[[], Any], repeats: int = 3) -> dict[str, float]:
    """Times a function: the first call, which compiles, and the least of further ones.

    Returns:
      `first_call_seconds` and `seconds`.
    """
    taken = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        taken.append(time.perf_counter() - start)
    return {"first_call_seconds": taken[0], "seconds": min(taken[1:])}
