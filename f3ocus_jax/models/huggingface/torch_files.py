"""How are the tensors of a torch checkpoint read, without running code that is in it?"""

import importlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor

SUFFIXES = (".bin", ".pt", ".pth")


def contents(path: pathlib.Path) -> dict[str, StoredTensor]:
    """Reads which tensors a checkpoint holds, with torch, which only the extra `parity` installs.

    Args:
      path: of a .pth, .pt or .bin file: a mapping of tensors, or a mapping whose entry "model" is
        one.

    Returns:
      The tensors by name; what are no floats (positions, queue pointers) is left out.

    Raises:
      WeightsError: if torch is not installed, the file is absent or damaged, it holds more than
        data, or it holds no tensors by name.
    """
    return {
        name: StoredTensor(path, name, tuple(value.shape), str(value.dtype).removeprefix("torch."))
        for name, value in _tensors(path).items()
    }


def stream(stored: Mapping[str, StoredTensor]) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors one after the other, and one file after the other.

    Args:
      stored: where they are, by any keys.

    Yields:
      (key, array of the dtype that the file has).

    Raises:
      WeightsError: as `contents`.
    """
    for path in sorted({tensor.path for tensor in stored.values()}):
        tensors = _tensors(path)
        for key, tensor in stored.items():
            if tensor.path == path:
                yield key, _array(tensors[tensor.name])


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
