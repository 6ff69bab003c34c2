"""Model files of limited size, of which no more than one is in memory at a time."""

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from f3ocus_jax.models.huggingface import tensor_files

SHARD_BYTES = 5_000_000_000
"""Default size of a file at most, as in transformers."""

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")

Shard = tuple[pathlib.Path, list[str]]
"""Temporary path of a written file, and the names of its tensors."""


def write(
    folder: pathlib.Path,
    tensors: Iterable[tuple[str, np.ndarray]],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model's tensors as they come, in as many files as needed.

    Args:
      folder: Existing folder; the files of a model in it are replaced.
      tensors: (name, array) pairs; those of one file are in memory at a time.
      shard_bytes: Size of a file at most, unless a single tensor is larger.
    """
    shards: list[Shard] = []
    try:
        total = _write_shards(folder, tensors, shard_bytes, shards)
        for path in folder.iterdir():
            if path.name == tensor_files.INDEX_FILE or _SHARD.fullmatch(path.name):
                path.unlink()
        _rename(folder, shards, total)
    finally:
        for path, _ in shards:
            path.unlink(missing_ok=True)


def _write_shards(
    folder: pathlib.Path,
    tensors: Iterable[tuple[str, np.ndarray]],
    shard_bytes: int,
    shards: list[Shard],
) -> int:
    """Appends to `shards` as files are written; returns the bytes of all tensors."""
    shard: dict[str, np.ndarray] = {}
    filled = total = 0

    def finish() -> None:
        path = folder / f".{tensor_files.WEIGHTS_FILE}.part-{len(shards)}"
        shards.append((path, list(shard)))
        tensor_files.write(path, shard)
        shard.clear()

    for name, value in tensors:
        if shard and filled + value.nbytes > shard_bytes:
            finish()
            filled = 0
        shard[name] = value
        filled, total = filled + value.nbytes, total + value.nbytes
    finish()
    return total


def _rename(folder: pathlib.Path, shards: Sequence[Shard], total: int) -> None:
    """Gives the files their final names, and writes their index if there are several."""
    if len(shards) == 1:
        shards[0][0].replace(folder / tensor_files.WEIGHTS_FILE)
        return
    (folder / tensor_files.WEIGHTS_FILE).unlink(missing_ok=True)
    weight_map: dict[str, str] = {}
    for number, (path, names) in enumerate(shards, 1):
        shard = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        path.replace(folder / shard)
        weight_map |= dict.fromkeys(names, shard)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    tensor_files.write_json(folder / tensor_files.INDEX_FILE, index)
