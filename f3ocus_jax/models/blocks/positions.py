"""Resampling of the learned position embeddings of an image's patches to another image size."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

CUBIC = -0.75
"""Torch's parameter of cubic convolution (Keys, 1981, takes -0.5)."""


def resize(position_PD: np.ndarray, side: int, method: str) -> np.ndarray:
    """Resamples the position embeddings of a square grid of patches.

    Args:
      position_PD: float32, the embedding of the class token, if there is one, then those of a
        square grid of patches in row-major order.
      side: Patches along an edge of the new grid.
      method: Key of `METHODS`.

    Returns:
      float32 [side · side, D], or one more: the class token's embedding unchanged, and those of
      the new grid.
    """
    old = math.isqrt(len(position_PD))
    first = len(position_PD) - old**2  # 1 with a class token
    if old == side:
        return position_PD
    weights = METHODS[method](old, side)
    grid = position_PD[first:].astype(np.float64).reshape(old, old, -1)
    grid = np.einsum("ia,jb,abd->ijd", weights, weights, grid)
    resized = grid.reshape(side * side, -1).astype(np.float32)
    return np.concatenate([position_PD[:first], resized])


def resize_batch(position_PD: jax.Array, grid_B2: jax.Array, shape: tuple[int, int]) -> jax.Array:
    """Resamples position embeddings for every image of a batch, bilinearly; it jits.

    Args:
      position_PD: Position embeddings as in `resize`.
      grid_B2: int32, rows and columns of patches of each image.
      shape: Rows and columns of the canvas; images lie in its top left corner.

    Returns:
      [B, 1 + rows · columns, D], of the dtype of `position_PD`: the class token's embedding
      unchanged, and those of the canvas, which have no meaning outside of an image.
    """
    old = round((len(position_PD) - 1) ** 0.5)
    row_weights, column_weights = (
        _bilinear_each(grid_B2[:, axis], length, old) for axis, length in enumerate(shape)
    )
    grid = position_PD[1:].astype(jnp.float32).reshape(old, old, -1)
    # By default accelerators would round positions to fewer digits.
    grid_BIJD = jnp.einsum(
        "bia,bjc,acd->bijd", row_weights, column_weights, grid, precision="highest"
    )
    batch, width = len(grid_B2), position_PD.shape[1]
    class_B1D = jnp.broadcast_to(position_PD[None, :1], (batch, 1, width))
    resized_BPD = grid_BIJD.reshape(batch, -1, width).astype(position_PD.dtype)
    return jnp.concatenate([class_B1D, resized_BPD], axis=1)


def _bilinear_each(new_B: jax.Array, length: int, old: int) -> jax.Array:
    """Returns weights [B, length, old], of which the first `new_B` rows are `_bilinear`'s."""
    steps_B = jnp.maximum(new_B - 1, 1)
    # Whole part separate: a quotient that is not rounded correctly would blur a grid that fits.
    whole_BI, rest_BI = jnp.divmod(jnp.arange(length)[None] * (old - 1), steps_B[:, None])
    positions_BI = whole_BI + rest_BI / steps_B[:, None]
    distance = jnp.abs(positions_BI[:, :, None] - jnp.arange(old)[None, None])
    return jnp.maximum(1 - distance, 0.0)


def _bilinear(old: int, new: int) -> np.ndarray:
    """Returns weights [new, old]; the corners of both grids coincide."""
    positions = np.linspace(0, old - 1, new) if new > 1 else np.zeros(1)
    return _kernel_weights(positions, old, lambda distance: np.maximum(1 - distance, 0), reach=1)


def _bicubic(old: int, new: int) -> np.ndarray:
    """Returns weights [new, old]; the edges of both grids coincide."""
    positions = (np.arange(new) + 0.5) * old / new - 0.5

    def cubic(distance: np.ndarray) -> np.ndarray:
        near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance**2 + 1
        far = CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))

    return _kernel_weights(positions, old, cubic, reach=2)


def _kernel_weights(
    positions: np.ndarray, old: int, kernel: Callable[[np.ndarray], np.ndarray], reach: int
) -> np.ndarray:
    """Returns the weight of every old point at every new position; edges repeat outwards."""
    weights = np.zeros((len(positions), old))
    first = np.floor(positions).astype(int)
    for offset in range(1 - reach, reach + 1):
        neighbour = first + offset
        weight = kernel(np.abs(positions - neighbour))
        np.add.at(weights, (np.arange(len(positions)), np.clip(neighbour, 0, old - 1)), weight)
    return weights


METHODS = {"bicubic": _bicubic, "bilinear": _bilinear}
"""Cubic convolution with the edges aligned, or linear interpolation with the corners aligned."""
