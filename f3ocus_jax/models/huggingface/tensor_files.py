"""How do named tensors get from and to disk, without pickle and without half-written files?"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
import safetensors
from safetensors.numpy import save_file

from f3ocus_jax.errors import WeightsError

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""What safetensors calls the kinds of float."""


def read_json(path: pathlib.Path) -> dict:
    """Reads a JSON object.

    Args:
      path: of the file.

    Returns:
      Its content.

    Raises:
      WeightsError: if it is absent or no JSON object.
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
    """Where a tensor is.

    Attributes:
      path: of its file.
      name: in that file.
      shape: of the tensor.
      dtype: of its numbers, as numpy names it; safetensors' own name where they are no floats.
    """

    path: pathlib.Path
    name: str
    shape: tuple[int, ...]
    dtype: str


def locate(directory: pathlib.Path) -> dict[str, StoredTensor]:
    """Finds every tensor of a model, without reading its numbers.

    Args:
      directory: with model.safetensors, or with shards and their index.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: if there is neither, or a file is absent, truncated or no safetensors file.
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
      index: its path, beside the shards.
      contents_of: path of a shard -> its tensors by name.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: if the index is no such file, or a tensor is in no shard.
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
    """Reads which tensors a file holds, without their numbers.

    Args:
      path: of a safetensors file.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: if the file is absent, truncated or no safetensors file.
    """
    with _open(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118, no mapping
        return {
            name: StoredTensor(
                path, name, tuple(part.get_shape()), DTYPES.get(part.get_dtype(), part.get_dtype())
            )
            for name, part in slices.items()
        }


def read(stored: Mapping[str, StoredTensor]) -> dict[str, np.ndarray]:
    """Reads tensors.

    Args:
      stored: where they are, by any keys.

    Returns:
      The same keys to arrays, float32.

    Raises:
      WeightsError: if a file is truncated, or a tensor does not hold floats.
    """
    return {name: value.astype(np.float32) for name, value in stream(stored)}


def stream(stored: Mapping[str, StoredTensor]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors one after the other, and one file after the other.

    Args:
      stored: where they are, by any keys.

    Yields:
      (key, array of the dtype that the file has).

    Raises:
      WeightsError: if a file is truncated, or a tensor does not hold floats.
    """
    for path in sorted({tensor.path for tensor in stored.values()}):
        # What was read of a file stays mapped until it is closed: one shard at most.
        with _open(path) as file:
            for key, tensor in stored.items():
                if tensor.path != path:
                    continue
                if tensor.dtype not in DTYPES.values():
                    raise WeightsError(f"{path}: {tensor.name} is {tensor.dtype}, must be floats")
                yield key, file.get_tensor(tensor.name)


def common_dtype(dtypes: Sequence[str]) -> np.dtype:
    """Returns the narrowest dtype that holds numbers of all of these, float32 at most."""
    narrowed = [np.dtype("float32" if dtype == "float64" else dtype) for dtype in dtypes]
    return functools.reduce(jnp.promote_types, narrowed)


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors of any kind of float; the file is there either whole or not at all."""
    arrays = {name: np.ascontiguousarray(tensors[name]) for name in tensors}
    # Hugging Face refuses files whose metadata do not name the framework they were made for.
    write_whole(path, lambda partial: save_file(arrays, partial, metadata={"format": "pt"}))


def write_json(path: pathlib.Path, content: Mapping) -> None:
    """Writes a JSON object; the file is there either whole or not at all."""
    text = json.dumps(content, indent=2) + "\n"
    write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))


def write_whole(path: pathlib.Path, write_to: Callable[[pathlib.Path], object]) -> None:
    """Writes a file under another name and renames it once all of it is on disk.

    Args:
      path: of the file; one that is there already is replaced.
      write_to: writes the content to the path it is given.
    """
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        write_to(partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def check_fit(
    where: pathlib.Path,
    stored: Mapping[str, tuple[int, ...]],
    expected: Mapping[str, tuple[int, ...]],
) -> None:
    """Refuses tensors that are not those of a model.

    Args:
      where: they are, for the message.
      stored: names to shapes of what is there.
      expected: names to shapes of what a model needs.

    Raises:
      WeightsError: lists what is missing, left over or of another shape.
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
