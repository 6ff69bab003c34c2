"""Encoded images: decoding within a limit of pixels, and encoding for TFDS without TensorFlow."""

import contextlib
import io
import pathlib
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.placeholders import placeholder

MAX_IMAGE_PIXELS = 64_000_000
"""Pixels of an image above which it is not decoded, unless another limit is given."""
MAX_BYTES_PER_PIXEL = 8
"""Bytes per pixel of an uncompressed file of four channels with 16 bits each."""
MAX_HEADER_BYTES = 1 << 24

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP")
"""Formats that are read; others of PIL start programs, as EPS does, or have no signature."""

_opening = threading.Lock()


class ImageError(ValueError):
    """Bytes that cannot be used as an image; the message says why, without the file's name."""


class ImageSizeError(ImageError):
    """An image above the limit of pixels."""


def encode_png(image_HWC: np.ndarray) -> io.BytesIO:
    """Encodes an image.

    Args:
      image_HWC: uint8 [height, width, 3], or [height, width] for grey.

    Returns:
      A PNG file in memory, always three channels; the same pixels give the same bytes.
    """
    if image_HWC.ndim == 2:
        image_HWC = np.repeat(image_HWC[..., None], 3, axis=-1)
    return _save(Image.fromarray(image_HWC), "PNG", compress_level=1)


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Compares an image with the limit.

    Args:
      width: Width, in pixels.
      height: Height, in pixels.
      max_pixels: Largest number of pixels.

    Raises:
      ImageSizeError: if it has more.
    """
    if width * height > max_pixels:
        raise ImageSizeError(
            f"has {width} x {height} pixels, more than max_image_pixels = {max_pixels}; "
            "raise the limit or make the image smaller"
        )


def read_bytes(path: pathlib.Path, max_pixels: int = MAX_IMAGE_PIXELS) -> bytes:
    """Reads an image file that is no larger than an image within the limit can be.

    Raises:
      ImageSizeError: if it is larger.
      OSError: if it cannot be read.
    """
    size, most = path.stat().st_size, MAX_BYTES_PER_PIXEL * max_pixels + MAX_HEADER_BYTES
    if size > most:
        raise ImageSizeError(
            f"has {size} bytes, more than an image of max_image_pixels = {max_pixels} needs; "
            "raise the limit or make the image smaller"
        )
    return path.read_bytes()


@contextlib.contextmanager
def opened(content: bytes, max_pixels: int = MAX_IMAGE_PIXELS) -> Iterator[Image.Image]:
    """Opens an encoded image, of which no pixel is decoded yet.

    Args:
      content: File of one of `FORMATS`.
      max_pixels: Largest number of pixels.

    Yields:
      The image; an error of its decoder inside the context becomes an `ImageError`.

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: if it is no image, or damaged.
    """
    instead = placeholder(content)
    if instead:
        raise ImageError(f"cannot be read as an image ({instead})")
    try:
        with _open(content) as image:
            check_size(*image.size, max_pixels)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        known = f"it is none of {', '.join(FORMATS)}"
        raise ImageError(f"cannot be read as an image ({known})") from error
    except Exception as error:  # damaged files raise errors of any kind in PIL's decoders
        reason = str(error) or type(error).__name__
        raise ImageError(f"cannot be read as an image ({reason})") from error


def _open(content: bytes) -> Image.Image:
    """Reads the header; PIL's own limit, which cannot be raised per image, is lifted meanwhile."""
    with _opening:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(io.BytesIO(content), formats=FORMATS)
        finally:
            Image.MAX_IMAGE_PIXELS = before


def decode_rgb(content: bytes, max_pixels: int = MAX_IMAGE_PIXELS) -> Image.Image:
    """Decodes an image as 8-bit colour; raises as `opened` does."""
    with opened(content, max_pixels) as image:
        return to_rgb(image)


def to_rgb(image: Image.Image) -> Image.Image:
    """Converts to 8-bit colour; 16-bit grey, which PIL would clip at 255, is scaled."""
    if image.mode.startswith("I"):
        grey_HW = np.asarray(image, np.float64)
        image = Image.fromarray(np.clip(np.rint(grey_HW / 257.0), 0, 255).astype(np.uint8))
    return image.convert("RGB")


def encode_checked(
    content: bytes, shorter_side: int = 0, max_pixels: int = MAX_IMAGE_PIXELS
) -> io.BytesIO:
    """Decodes an image completely, so that a damaged one is found when the dataset is built.

    Args:
      content: File of one of `FORMATS`.
      shorter_side: Largest shorter side in pixels; larger images are downscaled to it, as JPEG of
        quality 95. 0 keeps every image's size.
      max_pixels: Largest number of pixels.

    Returns:
      The file itself if it is a colour PNG or JPEG that is small enough; otherwise an encoded
      image with three channels.

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: if it is no image, or damaged.
    """
    with opened(content, max_pixels) as image:
        if shorter_side and min(image.size) > shorter_side:
            return _save(_downscaled(image, shorter_side), "JPEG", quality=95)
        image.load()
        if image.format not in ("PNG", "JPEG") or image.mode != "RGB":
            return _save(to_rgb(image), "PNG", compress_level=1)
    return io.BytesIO(content)


def read_image(
    path: pathlib.Path, shorter_side: int = 0, max_pixels: int = MAX_IMAGE_PIXELS
) -> io.BytesIO:
    """Reads an image file as `encode_checked` does.

    Raises:
      BuildError: if it cannot be used; the message names it.
    """
    try:
        return encode_checked(read_bytes(path, max_pixels), shorter_side, max_pixels)
    except ImageError as error:
        raise BuildError(f"{path}: {error}") from error


def _downscaled(image: Image.Image, shorter_side: int) -> Image.Image:
    scale = shorter_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.draft(image.mode, size)
    return to_rgb(image).resize(size, Image.Resampling.BICUBIC)


def _save(image: Image.Image, form: str, **options: int) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    file.seek(0)
    return file
