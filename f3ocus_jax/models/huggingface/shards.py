"""How does a model of any size get to disk with no more than one file of it in memory twice?"""

import pathlib
import re
from collections.abc import Iterable, Sequence

import numpy as np

from f3ocus_jax.models.huggingface import tensor_files

SHARD_BYTES = 5_000_000_000
"""How large a file gets before another is begun, as transformers does it."""

_SHARD = re.compile(r"model-\d{5}-of-\d{5}\.safetensors")

Part = tuple[pathlib.Path, list[str]]
"""A file that is written, under another name than it will have, and the tensors in it."""


def write(
    folder: pathlib.Path,
    tensors: Iterable[tuple[str, np.ndarray]],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Writes a model's tensors as they come, in as many files as it takes.

    Args:
      folder: an existing one; the files of a model that is there already are replaced.
      tensors: (name, array) pairs; those of one file are in memory at a time.
      shard_bytes: how large a file gets, but for a single tensor that is larger.
    """
    parts: list[Part] = []
    try:
        total = _write_parts(folder, tensors, shard_bytes, parts)
        for path in folder.iterdir():
            if path.name == tensor_files.INDEX_FILE or _SHARD.fullmatch(path.name):
                path.unlink()
        _name(folder, parts, total)
    finally:
        for path, _ in parts:
            path.unlink(missing_ok=True)


def _write_parts(
    folder: pathlib.Path,
    tensors: Iterable[tuple[str, np.ndarray]],
    shard_bytes: int,
    parts: list[Part],
) -> int:
    """Fills `parts` as files are written; returns the bytes of all tensors."""
    shard: dict[str, np.ndarray] = {}
    filled = total = 0

    def finish() -> None:
        path = folder / f".{tensor_files.WEIGHTS_FILE}.part-{len(parts)}"
        parts.append((path, list(shard)))
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


def _name(folder: pathlib.Path, parts: Sequence[Part], total: int) -> None:
    """Gives the files their names, and writes their index if there are several."""
    if len(parts) == 1:
        parts[0][0].replace(folder / tensor_files.WEIGHTS_FILE)
        return
    (folder / tensor_files.WEIGHTS_FILE).unlink(missing_ok=True)
    weight_map: dict[str, str] = {}
    for number, (path, names) in enumerate(parts, 1):
        shard = f"model-{number:05d}-of-{len(parts):05d}.safetensors"
        path.replace(folder / shard)
        weight_map |= dict.fromkeys(names, shard)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    tensor_files.write_json(folder / tensor_files.INDEX_FILE, index)
