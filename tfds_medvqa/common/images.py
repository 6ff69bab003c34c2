"""Encoded images for TFDS, without TensorFlow."""

import io
import pathlib

import numpy as np
from PIL import Image

from tfds_medvqa.common.errors import BuildError


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


def read_image(path: pathlib.Path, shorter_side: int = 0) -> io.BytesIO:
    """Reads an image file; see `check_image`."""
    return check_image(io.BytesIO(path.read_bytes()), str(path), shorter_side)


def check_image(file: io.BytesIO, name: str, shorter_side: int = 0) -> io.BytesIO:
    """Decodes an image completely, so that a damaged one is found when the dataset is built.

    Args:
      file: PNG, JPEG or other image that PIL reads.
      name: Name of the image in error messages.
      shorter_side: Largest shorter side in pixels; larger images are downscaled to it, as JPEG of
        quality 95. 0 keeps every image's size.

    Returns:
      The file itself if it is a colour PNG or JPEG that is small enough; otherwise an encoded
      image with three channels.

    Raises:
      BuildError: if it is not an image, or damaged.
    """
    try:
        with Image.open(file) as image:
            if shorter_side and min(image.size) > shorter_side:
                return _save(_downscaled(image, shorter_side), "JPEG", quality=95)
            image.load()
            if image.format not in ("PNG", "JPEG") or image.mode != "RGB":
                return _save(_rgb(image), "PNG", compress_level=1)
    except (OSError, SyntaxError, ValueError) as error:
        raise BuildError(f"{name}: cannot be read as an image ({error})") from error
    file.seek(0)
    return file


def _downscaled(image: Image.Image, shorter_side: int) -> Image.Image:
    scale = shorter_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.draft(image.mode, size)
    return _rgb(image).resize(size, Image.Resampling.BICUBIC)


def _rgb(image: Image.Image) -> Image.Image:
    """Converts to 8-bit colour; 16-bit grey, which PIL would clip at 255, is scaled."""
    if image.mode.startswith("I"):
        grey_HW = np.asarray(image, np.float64)
        image = Image.fromarray(np.clip(np.rint(grey_HW / 257.0), 0, 255).astype(np.uint8))
    return image.convert("RGB")


def _save(image: Image.Image, form: str, **options: int) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    file.seek(0)
    return file
