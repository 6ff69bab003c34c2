"""Processor files of a checkpoint: scaling of its pixels, and what a processor needs of its sizes.

transformers 4 keeps the former in preprocessor_config.json and the latter in processor_config.json;
version 5 writes both into processor_config.json. Both forms are read. Written is that of version 4,
which both versions read.
"""

import functools
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.blocks.vision import CHANNELS
from f3ocus_jax.models.huggingface import tensor_files
from f3ocus_jax.models.spec import Setup

logger = logging.getLogger(__name__)

FILE = "preprocessor_config.json"
PROCESSOR_FILE = "processor_config.json"
IMAGE_PROCESSOR = "image_processor"
"""Section of processor_config.json that is the content of the other file."""
BYTE = 1 / 255


def read_pixels(folder: pathlib.Path) -> dict[str, tuple[float, ...]]:
    """Reads the mean and deviation of a checkpoint's pixels.

    Args:
      folder: Folder of the checkpoint.

    Returns:
      The fields image_mean and image_std of `Setup`, without those that the files do not hold;
      `{}` without a file, which is announced.

    Raises:
      WeightsError: For a file that cannot be read, or another scaling than any family here has.
    """
    path, content = _scaling(folder)
    if content is None:
        _announce(folder)
        return {}
    factor = content.get("rescale_factor", BYTE)
    if not content.get("do_rescale", True) or abs(factor - BYTE) > 1e-9:
        raise WeightsError(f"{path}: rescale_factor = {factor}, must be 1/255, and do_rescale true")
    if not content.get("do_normalize", True):
        return {"image_mean": (0.0,), "image_std": (1.0,)}
    names = ("image_mean", "image_std")
    return {name: _numbers(path, name, content[name]) for name in names if name in content}


def _scaling(folder: pathlib.Path) -> tuple[pathlib.Path, dict[str, Any] | None]:
    """Returns the file with the scaling, as transformers chooses it, and its content, if any."""
    path = folder / PROCESSOR_FILE
    nested = tensor_files.read_json(path).get(IMAGE_PROCESSOR) if path.is_file() else None
    if isinstance(nested, dict):
        return path, nested
    if nested is not None:
        raise WeightsError(f"{path}: {IMAGE_PROCESSOR} = {nested!r}, must be a section")
    path = folder / FILE
    return path, tensor_files.read_json(path) if path.is_file() else None


@functools.cache
def _announce(folder: pathlib.Path) -> None:
    logger.warning(
        "%s has neither %s nor %s with the section %s: pixels are scaled as in the family's "
        "published models",
        folder,
        FILE,
        PROCESSOR_FILE,
        IMAGE_PROCESSOR,
    )


def write(folder: pathlib.Path, setup: Setup, image_processor: Mapping[str, Any]) -> None:
    """Writes the scaling of pixels as transformers reads it.

    Args:
      folder: Folder of the checkpoint.
      setup: Mean and deviation of the pixels.
      image_processor: Entries of the family, see `Family.image_processor`.
    """
    content = {
        **image_processor,
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 3,  # PIL's number for bicubic
        "do_rescale": True,
        "rescale_factor": BYTE,
        "do_normalize": True,
        "image_mean": _per_channel(setup.image_mean),
        "image_std": _per_channel(setup.image_std),
    }
    tensor_files.write_json(folder / FILE, content)


def write_processor(folder: pathlib.Path, processor: Mapping[str, Any]) -> None:
    """Writes what transformers' processor needs of a model's sizes, and removes an older file.

    Args:
      folder: Folder of the checkpoint.
      processor: Entries of the family, see `Family.processor`; empty for no file.
    """
    path = folder / PROCESSOR_FILE
    path.unlink(missing_ok=True)
    if processor:
        tensor_files.write_json(path, dict(processor))


def _numbers(path: pathlib.Path, name: str, value: Any) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise WeightsError(f"{path}: {name} = {value!r}, must be a number per channel")
    # A number that all channels share is kept once.
    return tuple(float(number) for number in (numbers[:1] if len(set(numbers)) == 1 else numbers))


def _per_channel(values: tuple[float, ...]) -> list[float]:
    return list(values) * (CHANNELS if len(values) == 1 else 1)
