"""How do learned positions of an image's patches fit an image of another size?"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

CUBIC = -0.75
"""Torch's parameter of cubic convolution (Keys, 1981, takes -0.5)."""


def resize(position_PD: np.ndarray, side: int, method: str) -> np.ndarray:
    """Resamples a square grid of positions behind a class token's.

    Args:
      position_PD: float32, the class token's position, then those of a square grid, rows first.
      side: patches along an edge of the new grid.
      method: a key of `METHODS`.

    Returns:
      The class token's position as it was, and side · side others, float32.
    """
    old = round((len(position_PD) - 1) ** 0.5)
    if old == side:
        return position_PD
    weights = METHODS[method](old, side)
    grid = position_PD[1:].astype(np.float64).reshape(old, old, -1)
    grid = np.einsum("ia,jb,abd->ijd", weights, weights, grid)
    resized = grid.reshape(side * side, -1).astype(np.float32)
    return np.concatenate([position_PD[:1], resized])


def resize_each(position_PD: jax.Array, grid_B2: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Resamples a square grid of positions for every image of a batch, bilinearly; it jits.

    Args:
      position_PD: as of `resize`.
      grid_B2: int32, rows and columns of patches that an image has.
      shape: rows and columns of the canvas in whose top left corner the images lie.

    Returns:
      [B, 1 + rows · columns, D]: the class token's position as it was, and those of the canvas,
      which have no meaning beyond an image. Of the dtype of `position_PD`.
    """
    old = round((len(position_PD) - 1) ** 0.5)
    of_rows, of_columns = (
        _bilinear_each(grid_B2[:, axis], length, old) for axis, length in enumerate(shape)
    )
    grid = position_PD[1:].astype(jnp.float32).reshape(old, old, -1)
    # By default accelerators would round positions to fewer digits.
    grid_BIJD = jnp.einsum("bia,bjc,acd->bijd", of_rows, of_columns, grid, precision="highest")
    batch, width = len(grid_B2), position_PD.shape[1]
    class_B1D = jnp.broadcast_to(position_PD[None, :1], (batch, 1, width))
    resized_BPD = grid_BIJD.reshape(batch, -1, width).astype(position_PD.dtype)
    return jnp.concatenate([class_B1D, resized_BPD], axis=1)


def _bilinear_each(new_B: jax.Array, length: int, old: int) -> jax.Array:
    """Returns weights [B, length, old], of which the first `new_B` rows are `_bilinear`'s."""
    steps_B = jnp.maximum(new_B - 1, 1)
    # Whole places apart: a quotient that is not rounded correctly would blur a grid that fits.
    whole_BI, rest_BI = jnp.divmod(jnp.arange(length)[None] * (old - 1), steps_B[:, None])
    places_BI = whole_BI + rest_BI / steps_B[:, None]
    distance = jnp.abs(places_BI[:, :, None] - jnp.arange(old)[None, None])
    return jnp.maximum(1 - distance, 0.0)


def _bilinear(old: int, new: int) -> np.ndarray:
    """Returns weights [new, old]; the corners of both grids are in the same place."""
    places = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
    return _kernel_weights(places, old, lambda distance: np.maximum(1 - distance, 0), reach=1)


def _bicubic(old: int, new: int) -> np.ndarray:
    """Returns weights [new, old]; the edges of both grids are in the same place."""
    places = (np.arange(new) + 0.5) * old / new - 0.5

    def cubic(distance: np.ndarray) -> np.ndarray:
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))

    return _kernel_weights(places, old, cubic, reach=2)


def _kernel_weights(
    places: np.ndarray, old: int, kernel: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Returns what every old point gives to a value at every place; edges repeat outwards."""
    weights = np.zeros((len(places), old))
    first = np.floor(places).astype(int)
    for offset in range(1 - reach, reach + 1):
        neighbour = first + offset
        share = kernel(np.abs(places - neighbour))
        np.add.at(weights, (np.arange(len(places)), np.clip(neighbour, 0, old - 1)), share)
    return weights


METHODS = {"bicubic": _bicubic, "bilinear": _bilinear}
"""Cubic convolution with the edges aligned, or linear interpolation with the corners aligned."""
