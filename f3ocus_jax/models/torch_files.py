"""How are the tensors of a torch checkpoint read, without running code that is in it?"""

import importlib
import pathlib

import numpy as np

from f3ocus_jax.models.tensor_files import WeightsError


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads a checkpoint with torch, which only the extra `parity` installs.

    Args:
      path: of a .pth, .pt or .bin file: a mapping of tensors, or a mapping whose entry "model" is
        one.

    Returns:
      Names to arrays, float32; what are no floats (positions, queue pointers) is left out.

    Raises:
      WeightsError: if torch is not installed, the file is absent or damaged, it holds more than
        data, or it holds no tensors by name.
    """
    try:
        torch = importlib.import_module("torch")
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{path} is a torch checkpoint: install the extra, pip install 'f3ocus_jax[parity]'"
        ) from error
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
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
        name: value.float().numpy()
        for name, value in state.items()
        if torch.is_tensor(value) and value.is_floating_point()
    }
