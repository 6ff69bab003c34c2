"""Encoded images: decoding within a limit of pixels, and encoding for TFDS without TensorFlow."""

import contextlib
import io
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfds_medvqa.common import dicom
from tfds_medvqa.common.conversion import significant_bits_of, to_rgb
from tfds_medvqa.common.errors import ImageError
from tfds_medvqa.common.image_limits import (
    DEFAULT_DECODING,
    DecodeOptions,
    check_size,
)
from tfds_medvqa.common.placeholders import placeholder

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP")
"""Formats that PIL reads here; others start programs, as EPS does, or have no signature."""

_opening = threading.Lock()


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


def decode_rgb(content: bytes, options: DecodeOptions = DEFAULT_DECODING) -> Image.Image:
    """Decodes an image as 8-bit colour, as building, training, predicting and inspecting do.

    Decoding what `encode_checked` stored gives the same pixels again.

    Args:
      content: File of one of `FORMATS`, or DICOM.
      options: Limit of pixels, and the page of a file that has several.

    Returns:
      Image of mode "RGB", see `conversion.to_rgb` and `dicom.decode_rgb`.

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: if it is no image, is damaged, or has several pages and none is chosen.
    """
    if dicom.is_dicom(content):
        return dicom.decode_rgb(content, options)
    with opened(content, options) as image:
        return to_rgb(image, significant_bits_of(content))


def convert_rgb(image: Image.Image, options: DecodeOptions = DEFAULT_DECODING) -> Image.Image:
    """Decodes an image that PIL has opened; see `decode_rgb`."""
    check_size(*image.size, options.max_pixels)
    _choose_page(image, options)
    return to_rgb(image)


@contextlib.contextmanager
def opened(content: bytes, options: DecodeOptions = DEFAULT_DECODING) -> Iterator[Image.Image]:
    """Opens an encoded image, of whose page no pixel is decoded yet.

    Args:
      content: File of one of `FORMATS`.
      options: Limit of pixels, and the page.

    Yields:
      The image; an error of its decoder inside the context becomes an `ImageError`.

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: if it is no image, is damaged, or has several pages and none is chosen.
    """
    instead = placeholder(content)
    if instead:
        raise ImageError(f"cannot be read as an image ({instead})")
    try:
        with _without_pils_limit():
            image = Image.open(io.BytesIO(content), formats=FORMATS)
        with image:
            check_size(*image.size, options.max_pixels)
            _choose_page(image, options)
            yield image
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        known = f"it is none of {', '.join((*FORMATS, 'DICOM'))}"
        raise ImageError(f"cannot be read as an image ({known})") from error
    except Exception as error:  # damaged files raise errors of any kind in PIL's decoders
        reason = str(error) or type(error).__name__
        raise ImageError(f"cannot be read as an image ({reason})") from error


def _choose_page(image: Image.Image, options: DecodeOptions) -> None:
    """Goes to the page that is wanted; a file that has one page alone needs no choice."""
    pages: int = getattr(image, "n_frames", 1)
    if pages == 1 or (image.tell() and not options.page):
        return
    if not 1 <= options.page <= pages:
        given = f"{options.page} is none of them" if options.page else "none is chosen"
        raise ImageError(f"has {pages} pages or frames, and {given}; image_page is one from 1 on")
    if image.format != "TIFF":  # the frames of an animation are drawn one over the other
        check_size(*image.size, options.max_pixels, options.page)
    with _without_pils_limit():
        image.seek(options.page - 1)
    check_size(*image.size, options.max_pixels)


@contextlib.contextmanager
def _without_pils_limit() -> Iterator[None]:
    """Lifts PIL's own limit of pixels, which cannot be set per image."""
    with _opening:
        before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def encode_checked(
    content: bytes, shorter_side: int = 0, options: DecodeOptions = DEFAULT_DECODING
) -> io.BytesIO:
    """Decodes an image completely, so that a damaged one is found when the dataset is built.

    Args:
      content: File of one of `FORMATS`, or DICOM.
      shorter_side: Largest shorter side in pixels; larger images are downscaled to it, as JPEG of
        quality 95. 0 keeps every image's size.
      options: Limit of pixels, and the page of a file that has several.

    Returns:
      The file itself if it is a PNG or JPEG that holds just the pixels of `decode_rgb`, and small
      enough; otherwise an encoded image with three channels.

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: see `decode_rgb`.
    """
    if dicom.is_dicom(content):
        decoded = dicom.decode_rgb(content, options)
        if shorter_side and min(decoded.size) > shorter_side:
            return _save(_downscaled(decoded, shorter_side), "JPEG", quality=95)
        return _save(decoded, "PNG", compress_level=1)
    with opened(content, options) as image:
        if shorter_side and min(image.size) > shorter_side:
            bits = significant_bits_of(content)
            return _save(_downscaled(image, shorter_side, bits), "JPEG", quality=95)
        decoded = to_rgb(image, significant_bits_of(content))
        if _is_plain(image) and image.tobytes() == decoded.tobytes():
            return io.BytesIO(content)
        return _save(decoded, "PNG", compress_level=1)


def _is_plain(image: Image.Image) -> bool:
    """Returns True for a colour image in a format that may be stored, alone in its file."""
    is_alone = getattr(image, "n_frames", 1) == 1
    return image.format in ("PNG", "JPEG") and image.mode == "RGB" and is_alone


def _downscaled(image: Image.Image, shorter_side: int, significant_bits: int = 0) -> Image.Image:
    scale = shorter_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.draft(image.mode, size)
    is_wide = image.width > image.height
    decoded = to_rgb(image, significant_bits)
    if is_wide != (decoded.width > decoded.height):  # EXIF said so
        size = size[::-1]
    return decoded.resize(size, Image.Resampling.BICUBIC)


def _save(image: Image.Image, form: str, **options: int) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    file.seek(0)
    return file
