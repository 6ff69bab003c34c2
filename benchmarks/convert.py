"""Memory of reading and converting a sharded checkpoint.

    python -m benchmarks.convert [--quick] [--json FILE]

A LLaVA with random bfloat16 weights is written in shards and read by a separate process for every
case. Limits: reading holds the model and one shard; converting holds one shard that is read and one
that is written, twice while it is laid out. Peaks are the processes' resident memory, which counts
the mapped part of a file, less that of a process that reads a model of a few kilobytes.
"""

import argparse
import json
import pathlib
import platform
import re
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import reporting

MEGABYTE = 1e6
WIDTHS = {True: 512, False: 1024}
SHARDS = 8
CASES = ("load stored", "load float32", "convert stored")


def write(folder: pathlib.Path, *, width: int, layers: int, shard_bytes: int) -> None:
    """Writes a checkpoint of a LLaVA that consists mostly of its language model."""
    from f3ocus_jax.data.tokenizer_files import load_tokenizer
    from f3ocus_jax.models import llava
    from f3ocus_jax.models.blocks.clip import ClipConfig
    from f3ocus_jax.models.blocks.llama_config import LlamaConfig
    from f3ocus_jax.models.huggingface import directory as huggingface, layout
    from f3ocus_jax.models.llava.config import LlavaConfig

    words = load_tokenizer(prompt=llava.FAMILY.prompt)
    image = ClipConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=28,
        patch_size=14,
    )
    text = LlamaConfig(
        vocab_size=words.vocabulary_size,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )
    spec = llava.FAMILY.spec(LlavaConfig(vision_config=image, text_config=text), num_answers=2)
    shapes = jax.eval_shape(llava.FAMILY.make_model(spec).init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5, jnp.bfloat16), shapes)
    mappings = llava.FAMILY.tensors(spec.config)
    tensors = layout.stream(mappings, llava.FAMILY.to_submodules(spec, params))
    huggingface.write(folder, spec, tensors, words, shard_bytes=shard_bytes)


def measure(case: str, folder: pathlib.Path) -> None:
    """Runs one case and prints its seconds and the peak of this process, as JSON."""
    from f3ocus_jax import convert
    from f3ocus_jax.models.huggingface import directory as huggingface

    start = time.perf_counter()
    kind, dtype = case.split()
    if kind == "load":
        huggingface.load(folder, key=jax.random.key(0), answers=("yes", "no"), dtype=dtype)
    else:
        size = max(path.stat().st_size for path in folder.glob("*.safetensors"))
        target = convert.Target(dtype=dtype, shard_bytes=size)
        convert.convert(folder, None, folder.with_name("converted"), target=target)
    seconds = time.perf_counter() - start
    # Not ru_maxrss, which a process takes over from the one that started it.
    status = pathlib.Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024
    print(json.dumps({"seconds": seconds, "peak": peak}))


def run_case(case: str, folder: pathlib.Path) -> dict[str, float]:
    """Measures a case in a separate process."""
    command = [sys.executable, "-m", "benchmarks.convert", "--case", case, "--folder", str(folder)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def rows(folder: pathlib.Path, *, width: int) -> list[dict[str, Any]]:
    """Measures all cases against their limits."""
    big, small = folder / "big", folder / "small"
    layers = 2 * SHARDS
    model_bytes = 2 * layers * 16 * width**2  # 4 attention maps and 3 of four times the width
    write(big, width=width, layers=layers, shard_bytes=model_bytes // SHARDS)
    write(small, width=64, layers=1, shard_bytes=10**9)
    sizes = [path.stat().st_size for path in big.glob("*.safetensors")]
    model, shard = sum(sizes), max(sizes)
    limits = {
        "load stored": model + shard,
        "load float32": 2 * model + shard,
        "convert stored": 3 * shard,
    }
    table = []
    for case in CASES:
        base, result = run_case(case, small), run_case(case, big)
        peak = result["peak"] - base["peak"]
        table.append(
            {
                "case": case,
                "method": "ours",
                "seconds": result["seconds"],
                "model_mb": model / MEGABYTE,
                "shard_mb": shard / MEGABYTE,
                "peak_mb": peak / MEGABYTE,
                "limit_mb": limits[case] / MEGABYTE,
                "ratio": peak / limits[case],
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--folder", type=pathlib.Path)
    options = parser.parse_args()
    if options.case:
        measure(options.case, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        table = rows(pathlib.Path(folder), width=WIDTHS[options.quick])
    hardware = f"{jax.device_count()} {jax.devices()[0].device_kind} device, {platform.machine()}"
    versions = {name: metadata.version(name) for name in ("jax", "safetensors", "numpy")}
    print(hardware, versions)
    print(f"{'case':<16}{'s':>8}{'model MB':>10}{'shard MB':>10}{'peak MB':>10}{'limit MB':>10}")
    for row in table:
        values = [row[name] for name in ("model_mb", "shard_mb", "peak_mb", "limit_mb")]
        print(f"{row['case']:<16}{row['seconds']:>8.2f}" + "".join(f"{v:>10.1f}" for v in values))
    summary = {f"convert.memory_ratio {row['case']}": row["ratio"] for row in table}
    reporting.write(options.json, hardware, versions, table, summary)


if __name__ == "__main__":
    main()
