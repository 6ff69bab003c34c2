"""How must pixels be scaled for a checkpoint? So says its preprocessor_config.json."""

import pathlib
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.blocks.vision import CHANNELS
from f3ocus_jax.models.huggingface import tensor_files
from f3ocus_jax.models.sizes import Sizes

FILE = "preprocessor_config.json"
BYTE = 1 / 255


def read_pixels(folder: pathlib.Path) -> dict[str, tuple[float, ...]]:
    """Reads the mean and deviation of a checkpoint's pixels.

    Args:
      folder: of the checkpoint.

    Returns:
      image_mean and image_std, each one number per channel or one for all; what the file does not
      hold is left out, and so is everything where there is no file.

    Raises:
      WeightsError: for a file that cannot be read, or that scales pixels as no family here does.
    """
    path = folder / FILE
    if not path.is_file():
        return {}
    content = tensor_files.read_json(path)
    factor = content.get("rescale_factor", BYTE)
    if not content.get("do_rescale", True) or abs(factor - BYTE) > 1e-9:
        raise WeightsError(f"{path}: rescale_factor = {factor}, must be 1/255, and do_rescale true")
    if not content.get("do_normalize", True):
        return {"image_mean": (0.0,), "image_std": (1.0,)}
    names = ("image_mean", "image_std")
    return {name: _numbers(path, name, content[name]) for name in names if name in content}


def write(folder: pathlib.Path, sizes: Sizes, of_family: Mapping[str, Any]) -> None:
    """Writes how pixels are scaled, as transformers reads it.

    Args:
      folder: of the checkpoint.
      sizes: of the model.
      of_family: the class of transformers that prepares its images, and the size it makes them.
    """
    content = {
        **of_family,
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": 3,  # PIL's number for bicubic
        "do_rescale": True,
        "rescale_factor": BYTE,
        "do_normalize": True,
        "image_mean": _per_channel(sizes.image_mean),
        "image_std": _per_channel(sizes.image_std),
    }
    tensor_files.write_json(folder / FILE, content)


def _numbers(path: pathlib.Path, name: str, value: Any) -> tuple[float, ...]:
    numbers = value if isinstance(value, list) else [value]
    if not all(isinstance(number, int | float) for number in numbers):
        raise WeightsError(f"{path}: {name} = {value!r}, must be a number per channel")
    # The same number for every channel is kept once, whatever the number of channels.
    return tuple(float(number) for number in (numbers[:1] if len(set(numbers)) == 1 else numbers))


def _per_channel(values: tuple[float, ...]) -> list[float]:
    return list(values) * (CHANNELS if len(values) == 1 else 1)
