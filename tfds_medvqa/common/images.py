"""Encoded images: decoding within a limit of pixels, and encoding for TFDS without TensorFlow."""

import contextlib
import dataclasses
import io
import pathlib
import threading
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from tfds_medvqa.common.conversion import significant_bits_of, to_rgb
from tfds_medvqa.common.errors import BuildError, ImageError, ImageSizeError
from tfds_medvqa.common.placeholders import placeholder

MAX_IMAGE_PIXELS = 64_000_000
"""Pixels of an image above which it is not decoded, unless another limit is given."""
MAX_BYTES_PER_PIXEL = 8
"""Bytes per pixel of an uncompressed file of four channels with 16 bits each."""
MAX_HEADER_BYTES = 1 << 24

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP")
"""Formats that are read; others of PIL start programs, as EPS does, or have no signature."""

_opening = threading.Lock()


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


def decode_rgb(content: bytes, options: DecodeOptions = DEFAULT_DECODING) -> Image.Image:
    """Decodes an image as 8-bit colour, as building, training, predicting and inspecting do.

    Decoding what `encode_checked` stored gives the same pixels again.

    Args:
      content: File of one of `FORMATS`.
      options: Limit of pixels, and the page of a file that has several.

    Returns:
      Image of mode "RGB", see `conversion.to_rgb`.

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: if it is no image, is damaged, or has several pages and none is chosen.
    """
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
        known = f"it is none of {', '.join(FORMATS)}"
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
      content: File of one of `FORMATS`.
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
    with opened(content, options) as image:
        if shorter_side and min(image.size) > shorter_side:
            return _save(_downscaled(image, shorter_side, content), "JPEG", quality=95)
        decoded = to_rgb(image, significant_bits_of(content))
        if _is_plain(image) and image.tobytes() == decoded.tobytes():
            return io.BytesIO(content)
        return _save(decoded, "PNG", compress_level=1)


def _is_plain(image: Image.Image) -> bool:
    """Returns True for a colour image in a format that may be stored, alone in its file."""
    is_alone = getattr(image, "n_frames", 1) == 1
    return image.format in ("PNG", "JPEG") and image.mode == "RGB" and is_alone


def read_image(
    path: pathlib.Path, shorter_side: int = 0, options: DecodeOptions = DEFAULT_DECODING
) -> io.BytesIO:
    """Reads an image file as `encode_checked` does.

    Raises:
      BuildError: if it cannot be used; the message names it.
    """
    try:
        return encode_checked(read_bytes(path, options.max_pixels), shorter_side, options)
    except ImageError as error:
        raise BuildError(f"{path}: {error}") from error


def _downscaled(image: Image.Image, shorter_side: int, content: bytes) -> Image.Image:
    scale = shorter_side / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    image.draft(image.mode, size)
    is_wide = image.width > image.height
    decoded = to_rgb(image, significant_bits_of(content))
    if is_wide != (decoded.width > decoded.height):  # EXIF said so
        size = size[::-1]
    return decoded.resize(size, Image.Resampling.BICUBIC)


def _save(image: Image.Image, form: str, **options: int) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, format=form, **options)
    file.seek(0)
    return file
