"""Windows of grey values: the range that becomes 8 bits, from the file's header or its values."""

import numpy as np

from tfds_medvqa.common.errors import ImageError

DEPTHS = (8, 10, 12, 14, 16)
"""Bits per value of detectors; values that are stored in 16 bits have one of these."""

HOUNSFIELD_WINDOW = (-1000.0, 1000.0)
"""Window of computed tomography without one of its own, from air to dense bone, in HU."""

HOUNSFIELD_LOWEST = (-3072.0, -200.0)
"""Range of the lowest value of a CT image, which shows air or is padded with less, in HU."""

HOUNSFIELD_HIGHEST = 32767.0
"""Largest value of a CT image, metal on the extended scale included, in HU."""


def to_eight_bits(values_HW: np.ndarray, stated_maximum: int = 0) -> np.ndarray:
    """Maps the values of a grey image to 8 bits.

    Args:
      values_HW: Integers or floats [height, width].
      stated_maximum: Largest value that the file's header says is possible; 0 if it says none.

    Returns:
      uint8 [height, width]; 0 and 255 beyond the window of `window_of`.

    Raises:
      ImageError: if a value is not finite.
    """
    if not np.isfinite(values_HW).all():
        raise ImageError("has values that are no finite numbers")
    return apply_window(values_HW, *window_of(values_HW, stated_maximum))


def window_of(values_HW: np.ndarray, stated_maximum: int = 0) -> tuple[float, float]:
    """Chooses the window of a grey image.

    With negative values it is `HOUNSFIELD_WINDOW` where these are as in CT, and the range of the
    values where they are not. Integers from 0 on have the window of the smallest of `DEPTHS` that
    holds them; floats, and integers beyond 16 bits, that of their values.

    Args:
      values_HW: Finite integers or floats [height, width].
      stated_maximum: Largest value that the file's header says is possible; 0 if it says none.

    Returns:
      (value that becomes 0, value that becomes 255).
    """
    lowest, highest = float(values_HW.min()), float(values_HW.max())
    if lowest < 0:
        above, below = HOUNSFIELD_LOWEST
        is_ct = above <= lowest <= below and highest <= HOUNSFIELD_HIGHEST
        return HOUNSFIELD_WINDOW if is_ct else (lowest, highest)
    largest = max(highest, stated_maximum)
    if not np.issubdtype(values_HW.dtype, np.integer) or largest >= 1 << DEPTHS[-1]:
        return lowest, highest
    return 0.0, next((1 << depth) - 1.0 for depth in DEPTHS if largest < 1 << depth)


def apply_window(values_HW: np.ndarray, low: float, high: float) -> np.ndarray:
    """Maps a window linearly to 8 bits.

    Args:
      values_HW: Integers or floats [height, width].
      low: Value that becomes 0.
      high: Value that becomes 255; if it is `low`, values above it become 255.

    Returns:
      uint8 [height, width].
    """
    width = float(high) - float(low)
    if width < np.finfo(np.float32).tiny:
        return np.where(values_HW > low, 255, 0).astype(np.uint8)
    scaled_HW = (values_HW.astype(np.float64) - low) * 255.0 / width
    return np.clip(np.rint(scaled_HW), 0, 255).astype(np.uint8)
