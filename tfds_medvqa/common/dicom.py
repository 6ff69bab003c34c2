"""DICOM files as 8-bit colour, by pydicom; nothing but the picture is read of them."""

import contextlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from tfds_medvqa.common import windows
from tfds_medvqa.common.errors import ImageError, ImageSizeError
from tfds_medvqa.common.image_limits import DecodeOptions, check_size, largest_file

LONGEST_REASON = 200
"""Characters of pydicom's own message that are shown."""

INSTALL = "pip install 'f3ocus_jax[dicom]'"

ELEMENTS = (
    *("Modality", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("NumberOfFrames", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "PixelData", "FloatPixelData", "DoubleFloatPixelData"),
    *("ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("ModalityLUTSequence", "RescaleIntercept", "RescaleSlope", "RescaleType"),
    *("VOILUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction"),
    *(f"{each}PaletteColorLookupTableDescriptor" for each in ("Red", "Green", "Blue")),
    *(f"{each}PaletteColorLookupTableData" for each in ("Red", "Green", "Blue")),
    *(f"Segmented{each}PaletteColorLookupTableData" for each in ("Red", "Green", "Blue")),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
)
"""Elements that are read; a patient's are not among them."""

OF_FRAMES = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
"""Sequences in which an enhanced file gives rescale and window, for all frames or for each."""

_PREFIX, _PREAMBLE = b"DICM", 128
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_DEFLATED = b"1.2.840.10008.1.2.1.99"


def is_dicom(content: bytes) -> bool:
    """Returns True for a DICOM file.

    Args:
      content: File of any format.
    """
    return content[_PREAMBLE : _PREAMBLE + len(_PREFIX)] == _PREFIX


def decode_rgb(content: bytes, options: DecodeOptions) -> Image.Image:
    """Decodes a DICOM file.

    Stored values are rescaled, and windowed by the first VOI LUT or window of the file; without one
    by -1000 to 1000 HU for CT, and by the bits that the header names or the values have for others.
    MONOCHROME1 is inverted.

    Args:
      content: A DICOM file.
      options: Limit of pixels of all frames together, and the frame.

    Returns:
      Image of mode "RGB".

    Raises:
      ImageSizeError: if it has more pixels.
      ImageError: if pydicom or a codec is not installed, or the file is damaged, has no picture, or
        has several frames and none is chosen.
    """
    try:
        import pydicom
        from pydicom import pixels
    except ImportError as error:
        raise ImageError(f"is a DICOM file, which needs pydicom: {INSTALL}") from error
    _check_deflated(content, options)
    with _quietly():
        try:
            dataset: Any = pydicom.dcmread(io.BytesIO(content), specific_tags=list(ELEMENTS))
            frame = _choose_frame(dataset, options)
            codec = _codec(dataset)
        except ImageError:
            raise
        except Exception as error:  # whose text may hold values of the file
            raise ImageError(f"is a damaged DICOM file ({type(error).__name__})") from error
        try:
            stored = pixels.pixel_array(dataset, index=frame)
            return Image.fromarray(_to_colour(dataset, stored)).convert("RGB")
        except ImageError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:LONGEST_REASON]
            raise ImageError(f"is DICOM ({codec}) that cannot be decoded: {reason}") from error


def _check_deflated(content: bytes, options: DecodeOptions) -> None:
    """Inflates a deflated file as far as the limit allows, which pydicom would not stop at."""
    meta = _PREAMBLE + len(_PREFIX) + len(_GROUP_LENGTH)
    if content[meta - len(_GROUP_LENGTH) : meta] != _GROUP_LENGTH or len(content) < meta + 4:
        return
    start = meta + 4 + struct.unpack_from("<I", content, meta)[0]
    if _DEFLATED not in content[meta:start]:
        return
    inflating, most = zlib.decompressobj(-zlib.MAX_WBITS), largest_file(options.max_pixels)
    try:
        inflating.decompress(content[start:], most)
    except zlib.error as error:
        raise ImageError("is a damaged DICOM file (deflated)") from error
    if inflating.unconsumed_tail:
        raise ImageSizeError(
            f"has more than {most} bytes when inflated, more than an image of max_image_pixels = "
            f"{options.max_pixels} needs"
        )


def _choose_frame(dataset: Any, options: DecodeOptions) -> int:
    """Returns the index of the frame, whose own rescale and window are moved to the top."""
    if not any(f"{kind}PixelData" in dataset for kind in ("", "Float", "DoubleFloat")):
        raise ImageError("is a DICOM file without pixel data")
    frames = int(dataset.get("NumberOfFrames") or 1)
    check_size(int(dataset.Columns), int(dataset.Rows), options.max_pixels, max(frames, 1))
    chosen = options.page if frames > 1 else 1
    if not 1 <= chosen <= frames:
        given = f"{chosen} is none of them" if chosen else "none is chosen"
        raise ImageError(f"has {frames} frames, and {given}; image_page is one from 1 on")
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    each = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for groups in (*shared[:1], *each[chosen - 1 : chosen]):
        for name in OF_FRAMES:
            for item in (groups.get(name) or [])[:1]:
                dataset.update(item)
    return chosen - 1


def _codec(dataset: Any) -> str:
    """Returns the name of the compression, for which a package is installed."""
    from pydicom import pixels

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        raise ImageError("is a DICOM file that names no transfer syntax")
    if not syntax.is_compressed or syntax.is_deflated:
        return str(syntax.name)
    try:
        decoder = pixels.get_decoder(syntax)
    except NotImplementedError as error:
        raise ImageError(f"is DICOM compressed as {syntax.name}, which is not read") from error
    if not decoder.is_available:
        packages = "; ".join(decoder.missing_dependencies).replace("requires gdcm", "python-gdcm")
        packages = packages.replace("requires ", "")
        raise ImageError(
            f"is DICOM compressed as {syntax.name}; install a package that decodes it ({packages})"
        )
    return str(syntax.name)


def _to_colour(dataset: Any, stored: np.ndarray) -> np.ndarray:
    """Returns uint8 [height, width] or [height, width, 3] of the stored values of a frame."""
    from pydicom import pixels

    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        colours_HWC = pixels.apply_color_lut(stored, dataset)
        return windows.apply_window(colours_HWC, 0, np.iinfo(colours_HWC.dtype).max)
    if stored.ndim == 3:  # YBR is RGB by now
        return windows.apply_window(stored, 0, (1 << int(dataset.BitsStored)) - 1)
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise ImageError(f"is DICOM with the photometric interpretation {kind}, which is not read")
    grey_HW = _windowed(dataset, stored)
    return 255 - grey_HW if kind == "MONOCHROME1" else grey_HW


def _windowed(dataset: Any, stored_HW: np.ndarray) -> np.ndarray:
    """Returns stored grey values as uint8, by the rules of PS3.3 C.11.1 and C.11.2."""
    from pydicom import pixels

    values_HW = pixels.apply_modality_lut(stored_HW, dataset)
    if not np.isfinite(values_HW).all():
        raise ImageError("has values that are no finite numbers")
    if dataset.get("VOILUTSequence"):
        levels_HW = pixels.apply_voi(np.rint(values_HW).astype(np.int64), dataset)
        depth = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
        return windows.apply_window(levels_HW, 0, (1 << depth) - 1)
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is not None and width is not None:
        function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
        return _apply_voi_window(values_HW, center, width, function)
    is_signed = bool(dataset.get("PixelRepresentation"))
    if dataset.get("Modality") == "CT" and (is_signed or "RescaleIntercept" in dataset):
        return windows.apply_window(values_HW, *windows.HOUNSFIELD_WINDOW)
    if dataset.get("ModalityLUTSequence"):
        depth = int(dataset.ModalityLUTSequence[0].LUTDescriptor[2])
        return windows.apply_window(values_HW, 0, (1 << depth) - 1)
    grey_HW = _without_window(dataset, stored_HW)
    is_falling = "RescaleIntercept" in dataset and (_first(dataset.get("RescaleSlope")) or 1) < 0
    return 255 - grey_HW if is_falling else grey_HW


def _without_window(dataset: Any, stored_HW: np.ndarray) -> np.ndarray:
    """Windows by the bits that the header names, where it says more than how they are stored."""
    bits = int(dataset.get("BitsStored") or 0) - int(bool(dataset.get("PixelRepresentation")))
    if bits < min(windows.DEPTHS) and np.issubdtype(stored_HW.dtype, np.unsignedinteger):
        return windows.apply_window(stored_HW, 0, (1 << bits) - 1)
    is_narrow = bits < 8 * stored_HW.dtype.itemsize - 1
    return windows.to_eight_bits(stored_HW, (1 << bits) - 1 if bits > 0 and is_narrow else 0)


def _apply_voi_window(
    values_HW: np.ndarray, center: float, width: float, function: str
) -> np.ndarray:
    """Applies a window (PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if not width >= (1 if function == "LINEAR" else np.finfo(float).tiny):
        raise ImageError(f"is DICOM with a window of width {width:g}, which is impossible")
    if function == "SIGMOID":
        exponent_HW = np.clip(-4 * (values_HW - center) / width, -700, 700)
        return np.rint(255 / (1 + np.exp(exponent_HW))).astype(np.uint8)
    if function == "LINEAR":
        center, width = center - 0.5, width - 1
    elif function != "LINEAR_EXACT":
        raise ImageError(f"is DICOM with the window function {function[:16]!r}, which is not read")
    return windows.apply_window(values_HW, center - width / 2, center + width / 2)


def _first(value: Any) -> float | None:
    """Returns the first of the alternatives that an element gives, None for none."""
    if value is None or value == "":
        return None
    if isinstance(value, str | int | float):
        return float(value)
    return float(value[0]) if len(value) else None


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Silences pydicom's warnings, which quote values of the file."""
    logger = logging.getLogger("pydicom")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
