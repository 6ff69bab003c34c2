"""Conversion of an opened image of any mode to 8-bit colour, the one rule for all modes."""

import struct

import numpy as np
from PIL import Image, ImageOps

from tfds_medvqa.common import windows

BACKGROUND = (0, 0, 0)
"""Colour behind transparent pixels: black, as around radiographs and scans."""

_ORIENTATION = 0x0112
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_BITS, _PHOTOMETRIC, _LARGEST, _SAMPLE_FORMAT, _LARGEST_OF_ANY_TYPE = 258, 262, 281, 339, 341
_UNSIGNED, _SIGNED, _WHITE_IS_ZERO = 1, 2, 0


def to_rgb(image: Image.Image, significant_bits: int = 0) -> Image.Image:
    """Converts an image to 8-bit colour; an 8-bit colour image stays as it is.

    Grey values beyond 8 bits are windowed (`windows.window_of`), transparent pixels are laid over
    `BACKGROUND`, and the rotation of EXIF is carried out. Colour of 16 bits keeps its upper 8.

    Args:
      image: Opened image, at the page that is wanted.
      significant_bits: Bits per grey value that a PNG file names, see `significant_bits_of`.

    Returns:
      Image of mode "RGB".

    Raises:
      ImageError: if a grey value is not finite.
    """
    image.load()
    if _is_deep(image):
        image = _deep_grey(image, significant_bits)
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        behind = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        image = Image.alpha_composite(behind, layer)
    return image.convert("RGB")


def significant_bits_of(content: bytes) -> int:
    """Returns the bits per grey value that a PNG file names (sBIT), 0 if it names none.

    Args:
      content: File of any format.
    """
    place = len(_PNG_SIGNATURE)
    if not content.startswith(_PNG_SIGNATURE):
        return 0
    while place + 9 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        if kind == b"sBIT":
            return content[place + 8]
        if kind in (b"IDAT", b"IEND"):
            return 0
        place += 12 + length
    return 0


def _is_deep(image: Image.Image) -> bool:
    """Returns True for grey values that 8 unsigned bits cannot hold."""
    is_signed_byte = image.mode == "L" and _tag(image, _SAMPLE_FORMAT) == _SIGNED
    return image.mode.startswith(("I", "F")) or is_signed_byte


def _deep_grey(image: Image.Image, significant_bits: int) -> Image.Image:
    """Windows grey values; what PIL leaves out of TIFF, signs and white as 0, is added."""
    values_HW = np.asarray(image)
    if image.mode == "L":
        values_HW = values_HW.view(np.int8)
    elif (_tag(image, _SAMPLE_FORMAT), _tag(image, _BITS)) == (_UNSIGNED, 32):
        values_HW = values_HW.view(np.uint32)
    grey_HW = windows.to_eight_bits(values_HW, _stated_maximum(image, values_HW, significant_bits))
    if _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO and image.mode != "L":
        grey_HW = 255 - grey_HW
    converted = Image.fromarray(grey_HW)
    converted.info = {key: image.info[key] for key in image.info.keys() - {"transparency"}}
    hidden = image.info.get("transparency")
    if isinstance(hidden, int):
        converted.putalpha(Image.fromarray(np.where(values_HW == hidden, 0, 255).astype(np.uint8)))
    return converted


def _stated_maximum(image: Image.Image, values_HW: np.ndarray, significant_bits: int) -> int:
    """Returns the largest value that the header says is possible, 0 if it says nothing.

    By the standard of PNG values of fewer significant bits are scaled up to 16; many programs store
    them as they are. They are scaled up if one does not fit the bits named.
    """
    if image.format == "PPM":  # whose values PIL scales from the header's maximum to 16 bits
        return (1 << 16) - 1
    if 0 < significant_bits <= 16:
        is_scaled = values_HW.max() >= 1 << significant_bits
        return (1 << (16 if is_scaled else significant_bits)) - 1
    return int(max(_tag(image, _LARGEST) or 0, _tag(image, _LARGEST_OF_ANY_TYPE) or 0))


def _tag(image: Image.Image, number: int) -> float | None:
    """Returns the first number of a tag of TIFF; None if it is absent, or for other formats."""
    value = getattr(image, "tag_v2", {}).get(number)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int | float) else None
