"""Files of every mode of an image, and their pixels as 8-bit colour by plain NumPy."""

import io
import struct
import zlib
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

SIDE = 8
PAGE = 2
"""Page that the files with several pages are read at."""
_TYPES = {"H": 3, "I": 4}


class Mode(NamedTuple):
    """A file and what it shows.

    Attributes:
      suffix: End of its name.
      content: The file.
      expected_HWC: uint8 [SIDE, SIDE, 3].
    """

    suffix: str
    content: bytes
    expected_HWC: np.ndarray


def saved(image: Image.Image | np.ndarray, form: str, **options: Any) -> bytes:
    """An image in a format."""
    image = image if isinstance(image, Image.Image) else Image.fromarray(image)
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(
    values_HW: np.ndarray, *, order: str = "<", white_is_zero: bool = False, **tags: int
) -> bytes:
    """An uncompressed TIFF file of values that PIL may not write; tags as in tag_281=4095."""
    height, width = values_HW.shape
    kind, size = values_HW.dtype.kind, values_HW.dtype.itemsize
    data = values_HW.astype(values_HW.dtype.newbyteorder(order)).tobytes()
    entries = {256: width, 257: height, 258: 8 * size, 259: 1, 262: int(not white_is_zero)}
    entries |= {273: 0, 277: 1, 278: height, 279: len(data), 339: "uif".index(kind) + 1}
    entries |= {int(name.removeprefix("tag_")): value for name, value in tags.items()}
    entries[273] = 8 + 2 + 12 * len(entries) + 4
    out = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(f"{order}IH", 8, len(entries))
    for tag, value in sorted(entries.items()):
        form = "I" if tag in (273, 279) else "H"
        out += struct.pack(f"{order}HHI{form}", tag, _TYPES[form], 1, value)
        out += b"\0\0" if form == "H" else b""
    return out + bytes(4) + data


def with_chunk(png: bytes, kind: bytes, data: bytes) -> bytes:
    """A PNG file with a chunk behind its header."""
    check = zlib.crc32(kind + data)
    chunk = struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
    return png[:33] + chunk + png[33:]


def grey(values_HW: np.ndarray) -> np.ndarray:
    """Three equal channels of rounded values in [0, 255]."""
    return np.repeat(np.rint(values_HW).astype(np.uint8)[..., None], 3, axis=-1)


def make_modes() -> dict[str, Mode]:
    """Name to file of one page."""
    draw = np.random.default_rng(0)
    colour = draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    byte = draw.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    full = draw.integers(0, 1 << 16, (SIDE, SIDE), dtype=np.uint16)
    twelve = draw.integers(0, 1 << 12, (SIDE, SIDE), dtype=np.uint16)
    dark = draw.integers(0, 900, (SIDE, SIDE), dtype=np.uint16)
    full[0, 0], twelve[0, 0] = 65535, 4095
    hounsfield = draw.integers(-1024, 1500, (SIDE, SIDE)).astype(np.int16)
    hounsfield[0, :4] = -1024, 1499, 0, 200
    signed = draw.integers(-50, 102, (SIDE, SIDE)).astype(np.int16)
    signed[0, :2] = -50, 101
    unit = draw.random((SIDE, SIDE)).astype(np.float32)
    alpha = draw.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    key = tuple(int(each) for each in colour[0, 0])
    is_key = (colour == colour[0, 0]).all(-1, keepdims=True)
    ct = grey(np.clip((hounsfield + 1000.0) * 255 / 2000, 0, 255))
    in_twelve, in_full = grey(twelve * 255.0 / 4095), grey(full / 257)
    dark_in_twelve = grey(dark * 255.0 / 4095)
    spread = (unit.astype(np.float64) - unit.min()) * 255 / (float(unit.max()) - float(unit.min()))
    scaled = (twelve << 4) | (twelve >> 8)
    palette = Image.fromarray(colour).quantize(16)
    table = np.array(palette.getpalette(), np.uint8).reshape(-1, 3)[np.asarray(palette)]
    clear = np.where((np.asarray(palette) == 3)[..., None], 0, table).astype(np.uint8)
    ink = draw.integers(0, 256, (SIDE, SIDE, 4), dtype=np.uint8)
    left = (255.0 - ink[..., :3]) * (255.0 - ink[..., 3:]) / 255
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = np.repeat(np.arange(0, 256, 32, dtype=np.uint8)[:, None], SIDE, axis=1)
    jpeg = saved(colour, "JPEG", quality=100)
    rotated = saved(smooth, "JPEG", quality=100, exif=exif)
    plain = {
        data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in (jpeg, rotated)
    }
    halves = np.stack([byte, alpha], -1)
    return {
        "colour": Mode("png", saved(colour, "PNG"), colour),
        "colour JPEG": Mode("jpg", jpeg, plain[jpeg]),
        "colour BMP": Mode("bmp", saved(colour, "BMP"), colour),
        "colour WebP": Mode("webp", saved(colour, "WEBP", lossless=True), colour),
        "grey": Mode("png", saved(byte, "PNG"), grey(byte)),
        "grey GIF": Mode("gif", saved(byte, "GIF"), grey(byte)),
        "black and white": Mode("png", saved(byte > 99, "PNG"), grey(np.where(byte > 99, 255, 0))),
        "16 bits": Mode("png", saved(full, "PNG"), in_full),
        "16 bits TIFF": Mode("tif", saved(full, "TIFF"), in_full),
        "16 bits big-endian": Mode("tif", tiff(full, order=">"), in_full),
        "16 bits PGM": Mode("pgm", saved(full, "PPM"), in_full),
        "16 bits white as 0": Mode("tif", tiff(full, white_is_zero=True), 255 - in_full),
        "12 bits in 16": Mode("png", saved(twelve, "PNG"), in_twelve),
        "12 bits in 16 TIFF": Mode("tif", saved(twelve, "TIFF"), in_twelve),
        "12 bits of a PNG header": Mode(
            "png", with_chunk(saved(dark, "PNG"), b"sBIT", b"\x0c"), dark_in_twelve
        ),
        "12 bits scaled to 16": Mode(
            "png", with_chunk(saved(scaled, "PNG"), b"sBIT", b"\x0c"), grey(scaled / 257)
        ),
        "12 bits of a TIFF header": Mode("tif", tiff(dark, tag_281=4095), dark_in_twelve),
        "Hounsfield units": Mode("tif", tiff(hounsfield), ct),
        "Hounsfield units as floats": Mode("tif", tiff(hounsfield.astype(np.float32)), ct),
        "signed 16 bits": Mode("tif", tiff(signed), grey((signed + 50.0) * 255 / 151)),
        "signed 8 bits": Mode(
            "tif", tiff(signed.astype(np.int8)), grey((signed + 50.0) * 255 / 151)
        ),
        "floats": Mode("tif", tiff(unit), grey(spread)),
        "32 bits": Mode(
            "tif",
            tiff(full.astype(np.uint32) * 65537),
            grey((full - float(full.min())) * 255 / (65535 - float(full.min()))),
        ),
        "palette": Mode("png", saved(palette, "PNG"), table),
        "palette with transparency": Mode("png", saved(palette, "PNG", transparency=3), clear),
        "alpha": Mode(
            "png",
            saved(np.dstack([colour, alpha]), "PNG"),
            rounded(colour * (alpha[..., None] / 255.0)),
        ),
        "grey and alpha": Mode("png", saved(halves, "PNG"), grey(byte * (alpha / 255.0))),
        "transparent colour": Mode(
            "png", saved(colour, "PNG", transparency=key), np.where(is_key, 0, colour)
        ),
        "transparent grey of 16 bits": Mode(
            "png",
            saved(full, "PNG", transparency=int(full[1, 1])),
            np.where((full == full[1, 1])[..., None], 0, in_full),
        ),
        "CMYK": Mode("tif", saved(Image.fromarray(ink, "CMYK"), "TIFF"), rounded(left)),
        "EXIF rotation": Mode("png", saved(colour, "PNG", exif=exif), np.rot90(colour, -1)),
        "EXIF rotation JPEG": Mode("jpg", rotated, np.rot90(plain[rotated], -1)),
        "TIFF rotation": Mode(
            "tif", saved(colour, "TIFF", tiffinfo={274: 6}), np.rot90(colour, -1)
        ),
    }


def rounded(values_HWC: np.ndarray) -> np.ndarray:
    """Rounded colours in [0, 255]."""
    return np.rint(values_HWC).astype(np.uint8)


def make_pages() -> dict[str, Mode]:
    """Name to file of three pages; the second is expected."""
    draw = np.random.default_rng(1)
    pages = [draw.integers(0, 1 << 16, (SIDE, SIDE), dtype=np.uint16) for _ in range(3)]
    for page in pages:
        page[0, 0] = 65535
    frames = [Image.fromarray((page >> 8).astype(np.uint8)) for page in pages]
    colours = [frame.convert("RGB") for frame in frames]
    shown = grey(pages[PAGE - 1] >> 8)

    def several(images: list[Image.Image], form: str, **options: Any) -> bytes:
        return saved(images[0], form, save_all=True, append_images=images[1:], **options)

    deep = [Image.fromarray(page) for page in pages]
    return {
        "pages": Mode("tif", several(deep, "TIFF"), grey(pages[PAGE - 1] / 257)),
        "animated GIF": Mode("gif", several(frames, "GIF"), shown),
        "animated PNG": Mode("png", several(colours, "PNG"), shown),
        "animated WebP": Mode("webp", several(colours, "WEBP", lossless=True), shown),
    }
