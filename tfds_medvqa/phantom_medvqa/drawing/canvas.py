"""Drawing primitives of all phantoms: soft shapes, smooth noise, cells and blur.

Coordinates lie in the square [-1, 1] x [-1, 1] with x to the right and y downwards, so that a
phantom shows the same scene at every image size.
"""

import functools
from collections.abc import Sequence

import numpy as np

Point = tuple[float, float]


@functools.lru_cache(maxsize=8)
def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x_HW and y_HW of the pixel centres, float32 in (-1, 1), read-only."""
    centers = ((np.arange(size, dtype=np.float32) + 0.5) * (2.0 / size) - 1.0).astype(np.float32)
    y_HW, x_HW = np.meshgrid(centers, centers, indexing="ij")
    x_HW.setflags(write=False)
    y_HW.setflags(write=False)
    return x_HW, y_HW


def soft_mask(distance_HW: np.ndarray, softness: float | None = None) -> np.ndarray:
    """Converts a signed distance to a soft mask.

    Args:
      distance_HW: Signed distance to the outline, negative inside.
      softness: Width of the transition; None for one pixel, which antialiases.

    Returns:
      mask_HW in [0, 1]: 1 inside, 1/2 on the outline, 0 outside.
    """
    width = 2.0 / distance_HW.shape[0] if softness is None else softness
    return np.clip(0.5 - distance_HW / width, 0.0, 1.0)


def ellipse(
    size: int, center: Point, radii: Point, angle: float = 0.0, softness: float | None = None
) -> np.ndarray:
    """Returns the soft mask_HW of an ellipse, rotated clockwise by `angle` radians."""
    x_HW, y_HW = coordinates(size)
    dx, dy = x_HW - center[0], y_HW - center[1]
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (cosine * dx + sine * dy) / radii[0]
    v = (cosine * dy - sine * dx) / radii[1]
    return soft_mask((np.sqrt(u * u + v * v) - 1.0) * min(radii), softness)


def outline(
    size: int,
    center: Point,
    radii: Point,
    waves: Sequence[tuple[int, float, float]],
    softness: float | None = None,
) -> np.ndarray:
    """Returns the soft mask_HW of an ellipse with a wavy outline.

    Args:
      size: Pixels per side.
      center: x and y of the centre.
      radii: Half axes without the waves.
      waves: (periods per turn, amplitude as a fraction of the radius, phase) of each wave.
      softness: Width of the transition, see `soft_mask`.
    """
    x_HW, y_HW = coordinates(size)
    u, v = (x_HW - center[0]) / radii[0], (y_HW - center[1]) / radii[1]
    angle_HW = np.arctan2(v, u)
    radius_HW = np.ones_like(u)
    for times, amplitude, phase in waves:
        radius_HW += np.float32(amplitude) * np.cos(times * angle_HW + np.float32(phase))
    return soft_mask((np.sqrt(u * u + v * v) - radius_HW) * min(radii), softness)


def paint(image: np.ndarray, mask_HW: np.ndarray, value: float | Sequence[float]) -> None:
    """Paints `image` ([H, W] or [H, W, 3]) in place with a grey or a colour where the mask is 1."""
    mask = mask_HW if image.ndim == 2 else mask_HW[..., None]
    image += mask * (np.asarray(value, np.float32) - image)


def filled(size: int, color: Sequence[float]) -> np.ndarray:
    """Returns an image_HWC of one colour."""
    return np.tile(np.asarray(color, np.float32), (size, size, 1))


@functools.lru_cache(maxsize=64)
def _interpolation(size: int, cells: int) -> np.ndarray:
    """Returns weights [size, cells + 1] of smoothstep interpolation from grid to pixels."""
    position = (np.arange(size) + 0.5) * cells / size
    left = np.minimum(position.astype(int), cells - 1)
    fraction = position - left
    fraction = fraction * fraction * (3.0 - 2.0 * fraction)
    weights = np.zeros((size, cells + 1), np.float32)
    weights[np.arange(size), left] = 1.0 - fraction
    weights[np.arange(size), left + 1] = fraction
    return weights


def texture(rng: np.random.Generator, size: int, cells: int, cells_down: int = 0) -> np.ndarray:
    """Draws smooth noise whose random numbers do not depend on the image size.

    Args:
      rng: Random number generator of the grid values.
      size: Pixels per side.
      cells: Grid cells horizontally.
      cells_down: Grid cells vertically; 0 for as many as horizontally.

    Returns:
      noise_HW, float32, mean about 0 and standard deviation about 2/3.
    """
    cells_down = cells_down or cells
    grid = rng.standard_normal((cells_down + 1, cells + 1)).astype(np.float32)
    return _interpolation(size, cells_down) @ grid @ _interpolation(size, cells).T


@functools.lru_cache(maxsize=64)
def _gaussian(size: int, sigma: float) -> np.ndarray:
    """Returns a blur matrix [size, size]; rows sum to 1, which keeps the border's brightness."""
    pixels = np.arange(size)
    weights = np.exp(-0.5 * ((pixels[:, None] - pixels[None]) / (sigma * size)) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blurs [H, W] or [H, W, 3] with a Gaussian; sigma is a fraction of the image side."""
    if sigma <= 0.0:
        return image
    matrix = _gaussian(image.shape[0], sigma)
    if image.ndim == 2:
        return matrix @ image @ matrix.T
    # matmul broadcasts over leading axes, so the colours go first: both passes are BLAS calls.
    return np.moveaxis(matrix @ np.moveaxis(image, -1, 0) @ matrix.T, 0, -1)


def jittered_points(rng: np.random.Generator, across: int, jitter: float) -> np.ndarray:
    """Draws across^2 points, one per grid cell, moved by up to `jitter` cells: shape [n, 2]."""
    centers = (np.arange(across) + 0.5) * (2.0 / across) - 1.0
    grid = np.stack(np.meshgrid(centers, centers), axis=-1).reshape(-1, 2)
    return grid + rng.uniform(-jitter, jitter, grid.shape) * (2.0 / across)


def nearest_two(size: int, points_N2: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Measures every pixel's distance to its nearest and second nearest point.

    Returns:
      (first_HW, second_HW, index_HW): the two distances and the nearest point's index.
    """
    x_HW, y_HW = coordinates(size)
    points = points_N2.astype(np.float32)
    squared_NHW = (x_HW - points[:, 0, None, None]) ** 2
    squared_NHW += (y_HW - points[:, 1, None, None]) ** 2
    index_HW = squared_NHW.argmin(axis=0)
    two = np.sqrt(np.partition(squared_NHW, 1, axis=0)[:2])
    return two[0], two[1], index_HW


def dots(size: int, points_N2: np.ndarray, radius: float) -> np.ndarray:
    """Returns the soft mask_HW of equal discs around the points; an empty mask without points."""
    if len(points_N2) == 0:
        return np.zeros((size, size), np.float32)
    x_HW, y_HW = coordinates(size)
    points = points_N2.astype(np.float32)
    squared_NHW = (x_HW - points[:, 0, None, None]) ** 2
    squared_NHW += (y_HW - points[:, 1, None, None]) ** 2
    return soft_mask(np.sqrt(squared_NHW.min(axis=0)) - np.float32(radius))


def rgb(image_HW: np.ndarray) -> np.ndarray:
    """Repeats a grey image over three channels."""
    return np.repeat(image_HW[..., None], 3, axis=-1)
