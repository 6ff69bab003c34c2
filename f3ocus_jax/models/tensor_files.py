"""How do named tensors get from and to disk, without pickle and without half-written files?"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np
import safetensors
from safetensors.numpy import save_file

WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class WeightsError(ValueError):
    """Weights that cannot be used: the message names the file and what is wrong with it."""


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
    """

    path: pathlib.Path
    name: str
    shape: tuple[int, ...]


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
    shards = read_json(directory / INDEX_FILE).get("weight_map")
    if not isinstance(shards, dict):
        raise WeightsError(f"{directory / INDEX_FILE} has no weight_map")
    stored: dict[str, StoredTensor] = {}
    for shard in sorted(set(shards.values())):
        # Only the name: an index must not lead out of its directory.
        stored |= contents(directory / pathlib.Path(shard).name)
    if absent := sorted(set(shards) - set(stored)):
        raise WeightsError(f"{directory / INDEX_FILE} names {listed(absent)}, which no shard holds")
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
        names = list(file.keys())
        return {n: StoredTensor(path, n, tuple(file.get_slice(n).get_shape())) for n in names}


def read(stored: Mapping[str, StoredTensor]) -> dict[str, np.ndarray]:
    """Reads tensors.

    Args:
      stored: where they are, by any keys.

    Returns:
      The same keys to arrays, float32.

    Raises:
      WeightsError: if a file is truncated, or a tensor does not hold floats.
    """
    tensors = {}
    for path in sorted({tensor.path for tensor in stored.values()}):
        with _open(path) as file:
            for key, tensor in stored.items():
                if tensor.path == path:
                    tensors[key] = _floats(file.get_tensor(tensor.name), tensor)
    return tensors


def write(path: pathlib.Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors as float32; the file is there either whole or not at all."""
    arrays = {name: np.ascontiguousarray(tensors[name], np.float32) for name in tensors}
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


def _floats(values: np.ndarray, tensor: StoredTensor) -> np.ndarray:
    if values.dtype.kind in "biu":
        raise WeightsError(f"{tensor.path}: {tensor.name} is {values.dtype}, must be floats")
    return values.astype(np.float32)


def _open(path: pathlib.Path) -> safetensors.safe_open:
    try:
        return safetensors.safe_open(path, framework="numpy")
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing") from error
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} is truncated or no safetensors file ({error}): fetch or write it again"
        ) from error
