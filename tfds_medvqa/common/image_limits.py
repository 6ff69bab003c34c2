"""Limits of what is decoded, and the page of files that have several."""

import dataclasses
import pathlib

from tfds_medvqa.common.errors import ImageSizeError

MAX_IMAGE_PIXELS = 64_000_000
"""Pixels of an image above which it is not decoded, unless another limit is given."""
MAX_BYTES_PER_PIXEL = 8
"""Bytes per pixel of an uncompressed file of four channels with 16 bits each."""
MAX_HEADER_BYTES = 1 << 24


@dataclasses.dataclass(frozen=True)
class DecodeOptions:
    """Options of decoding an image.

    Attributes:
      max_pixels: Pixels above which an image is not decoded.
      page: Page of a TIFF file, or frame of an animation, from 1; 0 to refuse files with several.
    """

    max_pixels: int = MAX_IMAGE_PIXELS
    page: int = 0


DEFAULT_DECODING = DecodeOptions()


def check_size(width: int, height: int, max_pixels: int, frames: int = 1) -> None:
    """Compares an image with the limit.

    Args:
      width: Width, in pixels.
      height: Height, in pixels.
      max_pixels: Largest number of pixels.
      frames: Number of frames that are decoded to obtain it.

    Raises:
      ImageSizeError: if it has more.
    """
    if width * height * frames > max_pixels:
        size = f"{width} x {height}" if frames == 1 else f"{width} x {height} x {frames}"
        raise ImageSizeError(
            f"has {size} pixels, more than max_image_pixels = {max_pixels}; "
            "raise the limit or make the image smaller"
        )


def largest_file(max_pixels: int) -> int:
    """Returns the bytes of the largest file that an image within the limit can be."""
    return MAX_BYTES_PER_PIXEL * max_pixels + MAX_HEADER_BYTES


def read_bytes(path: pathlib.Path, max_pixels: int = MAX_IMAGE_PIXELS) -> bytes:
    """Reads an image file that is no larger than an image within the limit can be.

    Raises:
      ImageSizeError: if it is larger.
      OSError: if it cannot be read.
    """
    size, most = path.stat().st_size, largest_file(max_pixels)
    if size > most:
        raise ImageSizeError(
            f"has {size} bytes, more than an image of max_image_pixels = {max_pixels} needs; "
            "raise the limit or make the image smaller"
        )
    return path.read_bytes()
