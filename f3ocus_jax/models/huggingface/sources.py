"""Tensors of a checkpoint of safetensors or torch, in one file or several."""

import pathlib
from collections.abc import Iterator

import numpy as np

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.huggingface import tensor_files, torch_files
from f3ocus_jax.models.huggingface.tensor_files import StoredTensor, StoredTensors

SUFFIX = ".safetensors"
TORCH_FILE = "pytorch_model.bin"
TORCH_INDEX = f"{TORCH_FILE}.index.json"


def locate(source: pathlib.Path) -> dict[str, StoredTensor]:
    """Finds every tensor of a checkpoint, without reading its numbers.

    Args:
      source: A file, or a directory with a model in safetensors or, failing that, of torch.

    Returns:
      The tensors by name.

    Raises:
      WeightsError: If it is absent, damaged or of no known format.
    """
    if source.is_dir():
        return _in_directory(source)
    return _in_file(source)


def stream(stored: StoredTensors) -> Iterator[tuple[str, np.ndarray]]:
    """Reads tensors one after the other, and one file after the other.

    Args:
      stored: Tensors by any names.

    Yields:
      (name, array of the file's dtype).

    Raises:
      WeightsError: If a file is truncated, or a tensor does not hold floats.
    """
    is_torch = any(tensor.path.suffix != SUFFIX for tensor in stored.values())
    return torch_files.stream(stored) if is_torch else tensor_files.stream(stored)


def _in_directory(folder: pathlib.Path) -> dict[str, StoredTensor]:
    names = {path.name for path in folder.iterdir()}
    if not names & {tensor_files.WEIGHTS_FILE, tensor_files.INDEX_FILE}:
        if TORCH_INDEX in names:
            index = folder / TORCH_INDEX
            return tensor_files.through_index(index, torch_files.contents)
        if TORCH_FILE in names:
            return torch_files.contents(folder / TORCH_FILE)
    return tensor_files.locate(folder)


def _in_file(path: pathlib.Path) -> dict[str, StoredTensor]:
    if path.suffix == SUFFIX:
        return tensor_files.contents(path)
    if path.suffix in torch_files.SUFFIXES:
        return torch_files.contents(path)
    known = ", ".join((SUFFIX, *torch_files.SUFFIXES))
    raise WeightsError(f"{path} is no checkpoint: must be a directory or a file in {known}")
