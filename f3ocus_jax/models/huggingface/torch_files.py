"""Tensors of a torch checkpoint, read as data only: none of its code runs."""

import importlib
import pathlib
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.huggingface import tensor_files
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor, StoredTensors

SUFFIXES = (".bin", ".pt", ".pth")


def contents(path: pathlib.Path) -> dict[str, StoredTensor]:
    """Lists the tensors of a checkpoint, with torch, which only the extra `parity` installs.

    Args:
      path: Path of a .pth, .pt or .bin file that holds a mapping of tensors, or a mapping whose
        entry "model" is one.

    Returns:
      The tensors by name, without those that are no floats (positions, queue pointers).

    Raises:
      WeightsError: If torch is not installed, the file is absent or damaged, it holds more than
        data, or it holds no tensors by name.
    """
    return {
        name: StoredTensor(path, name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in _tensors(path).items()
    }


def stream(stored: StoredTensors) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors of torch checkpoints one after the other; see `tensor_files.stream_files`.

    Raises:
      WeightsError: As `contents`.
    """
    return tensor_files.stream_files(stored, _read_file)


def _read_file(path: pathlib.Path, stored: StoredTensors) -> Iterator[tuple[str, np.ndarray]]:
    tensors = _tensors(path)
    for name, tensor in stored.items():
        yield name, _array(tensors[tensor.name])


def _tensors(path: pathlib.Path) -> dict[str, Any]:
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{path} is a torch checkpoint: install the extra, pip install 'f3ocus_jax[parity]'"
        ) from error
    try:
        content = _load(torch, path)
    except FileNotFoundError as error:
        raise WeightsError(f"{path} is missing") from error
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        reason = str(error).split("\n")[0]
        raise WeightsError(
            f"{path} is damaged, or holds more than tensors, which is not read: {reason}"
        ) from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not any(torch.is_tensor(value) for value in state.values()):
        raise WeightsError(f"{path} holds no tensors by name")
    return {
        name: value
        for name, value in state.items()
        if torch.is_tensor(value) and value.is_floating_point()
    }


def _load(torch: Any, path: pathlib.Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:
        # Files from before torch 1.6 cannot be mapped; they are read whole.
        return torch.load(path, map_location="cpu", weights_only=True)


def _array(value: Any) -> np.ndarray:
    torch = importlib.import_module("torch")
    value = value.detach()
    if value.dtype == torch.bfloat16:  # which numpy does not know, but by its bits
        return value.contiguous().view(torch.int16).numpy().view(jnp.bfloat16)
    return value.numpy()
