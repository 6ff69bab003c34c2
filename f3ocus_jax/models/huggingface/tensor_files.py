"""Named tensors on disk as safetensors: no pickle, and no half-written files."""

import dataclasses
import functools
import json
import os
import pathlib
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import save_file

from f3ocus_jax.errors import WeightsError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Names of floats in safetensors to those of NumPy."""


def read_json(path: pathlib.Path) -> dict:
    """Reads a JSON object.

    Args:
      path: Path of the file.

    Returns:
      Its content.

    Raises:
      WeightsError: If it is absent or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(
            f"{path} is missing: {path.parent} is no complete Hugging Face directory"
        ) from error
    except ValueError as error:
        raise WeightsError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds a {type(content).__name__}, must be a JSON object")
    return content


@dataclasses.dataclass(frozen=True)
class StoredTensor:
    """A tensor in a file, of safetensors or of torch, whose numbers are not read yet.

    Attributes:
      path: Path of the file.
      name: Name in that file.
      shape: Shape of the tensor.
      dtype: NumPy's name of its dtype; for numbers that are no floats, the file format's own name.
    """

    path: pathlib.Path
    name: str
    shape: tuple[int, ...]
    dtype: str


StoredTensors: TypeAlias = Mapping[str, StoredTensor]
"""Stored tensors by name, which may differ from their names in the files."""


def locate(directory: pathlib.Path) -> dict[str, StoredTensor]:
    """Finds every tensor of a model, without reading its numbers.

    Args:
      directory: Directory of model.safetensors, or of shards and their index.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: If there is neither, or a file is absent, truncated or no safetensors file.
    """
    if (directory / WEIGHTS_FILE).is_file():
        return contents(directory / WEIGHTS_FILE)
    if not (directory / INDEX_FILE).is_file():
        hint = ""
        if any(path.suffix in (".bin", ".pt", ".pth") for path in directory.glob("*")):
            hint = "; pickled weights are not read, since they can run code: convert them first"
        raise WeightsError(f"{directory} has neither {WEIGHTS_FILE} nor {INDEX_FILE}{hint}")
    return through_index(directory / INDEX_FILE, contents)


def through_index(
    index: pathlib.Path, contents_of: Callable[[pathlib.Path], dict[str, StoredTensor]]
) -> dict[str, StoredTensor]:
    """Finds every tensor of a model whose shards have an index.

    Args:
      index: Path of the index, in the directory of the shards.
      contents_of: Maps the path of a shard to its tensors by name.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: If the index is no such file, or a tensor is in no shard.
    """
    shards = read_json(index).get("weight_map")
    if not isinstance(shards, dict):
        raise WeightsError(f"{index} has no weight_map")
    stored: dict[str, StoredTensor] = {}
    for shard in sorted(set(shards.values())):
        # Only the name: an index must not lead out of its directory.
        stored |= contents_of(index.parent / pathlib.Path(shard).name)
    if absent := sorted(set(shards) - set(stored)):
        raise WeightsError(f"{index} names {listed(absent)}, which no shard holds")
    return stored


def contents(path: pathlib.Path) -> dict[str, StoredTensor]:
    """Lists the tensors of a file, without reading their numbers.

    Args:
      path: Path of a safetensors file.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: If the file is absent, truncated or no safetensors file.
    """
    with _open(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, no mapping
        return {
            name: StoredTensor(
                path, name, tuple(part.get_shape()), DTYPES.get(part.get_dtype(), part.get_dtype())
            )
            for name, part in slices.items()
        }


def read(stored: StoredTensors) -> dict[str, np.ndarray]:
    """Reads tensors.

    Args:
      stored: Tensors by any names.

    Returns:
      The same names to arrays, float32.

    Raises:
      WeightsError: If a file is truncated, or a tensor does not hold floats.
    """
    return {name: value.astype(np.float32) for name, value in stream(stored)}


def stream(stored: StoredTensors) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors of safetensors files one after the other; see `stream_files`.

    Raises:
      WeightsError: If a file is truncated, or a tensor does not hold floats.
    """
    return stream_files(stored, _read_file)


def stream_files(
    stored: StoredTensors,
    read_file: Callable[[pathlib.Path, StoredTensors], Iterator[tuple[str, np.ndarray]]],
) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors one after the other, and one file after the other.

    Args:
      stored: Tensors by any names.
      read_file: Maps the path of a file and its tensors to (name, array) pairs.

    Yields:
      (name, array of the file's dtype).
    """
    for path in sorted({tensor.path for tensor in stored.values()}):
        tensors = {name: tensor for name, tensor in stored.items() if tensor.path == path}
        yield from read_file(path, tensors)


def _read_file(path: pathlib.Path, tensors: StoredTensors) -> Iterator[tuple[str, np.ndarray]]:
    # A file stays mapped in memory until it is closed: one shard at most.
    with _open(path) as file:
        for name, tensor in tensors.items():
            if tensor.dtype not in DTYPES.values():
                raise WeightsError(f"{path}: {tensor.name} is {tensor.dtype}, must be floats")
            yield name, file.get_tensor(tensor.name)


def common_dtype(dtypes: Sequence[str]) -> np.dtype:
    """Returns the narrowest dtype that holds the numbers of all these dtypes, float32 at most."""
    narrowed = [np.dtype("float32" if dtype == "float64" else dtype) for dtype in dtypes]
    return functools.reduce(jnp.promote_types, narrowed)


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors of floats of any dtype, atomically: the file is whole or absent."""
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in tensors}

    def save(partial: pathlib.Path) -> None:
        # Hugging Face refuses files whose metadata do not name the framework they were made for.
        try:
            save_file(arrays, partial, metadata={"format": "pt"})
        except safetensors.SafetensorError as error:
            raise OSError(f"{path} cannot be written: {error}") from error

    write_whole(path, save)


def write_json(path: pathlib.Path, content: Mapping) -> None:
    """Writes a JSON object, atomically: the file is whole or absent."""
    text = json.dumps(content, indent=2) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_whole(path: pathlib.Path, write_to: Callable[[pathlib.Path], object]) -> None:
    """Writes a file under another name and renames it once all of it is on disk.

    Args:
      path: Path of the file; an existing one is replaced.
      write_to: Function that writes the content to the given path.

    Raises:
      OSError: If the file cannot be written, as on a full disk; an existing one is as before.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.touch()
        mode = partial.stat().st_mode  # what the umask leaves; safetensors makes files private
        write_to(partial)
        partial.chmod(stat.S_IMODE(mode))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_shapes(
    where: pathlib.Path,
    stored: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Compares stored tensors with those of a model.

    Args:
      where: Path of the tensors, for the message.
      stored: Names to shapes of the stored tensors.
      expected: Names to shapes of the tensors that the model needs.

    Raises:
      WeightsError: Lists the tensors that are missing, left over or of another shape.
    """
    wrong = [
        f"{name} {stored[name]} instead of {expected[name]}"
        for name in sorted(set(stored) & set(expected))
        if stored[name] != expected[name]
    ]
    problems = {
        "missing": sorted(set(expected) - set(stored)),
        "left over": sorted(set(stored) - set(expected)),
        "of another shape": wrong,
    }
    if any(problems.values()):
        parts = [f"{kind}: {listed(names)}" for kind, names in problems.items() if names]
        raise WeightsError(f"{where} does not fit the model; tensors {'; '.join(parts)}")


def listed(names: list[str]) -> str:
    """Joins names, at most twenty of them."""
    rest = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(names[:20]) + rest


def _open(path: pathlib.Path) -> safetensors.safe_open:
    try:
        return safetensors.safe_open(path, framework="numpy")
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is truncated or no safetensors file ({error}): fetch or write it again"
        ) from error
