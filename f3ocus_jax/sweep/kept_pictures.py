"""Small copies of a report's pictures, kept beside the results that they were drawn from."""

import hashlib
import pathlib

from PIL import Image
from PIL.PngImagePlugin import PngImageFile, PngInfo

from f3ocus_jax.report import style
from f3ocus_jax.sweep.result_rows import RUNS_FILE

COLOURS = 128
"""Largest number of colours of a copy, which is enough for a figure."""


def keep(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copies a picture in fewer colours, with the hash of the results in the target's folder.

    Args:
      source: PNG of a report.
      target: PNG to write, beside the runs.csv of the same report.
    """
    carried = PngInfo()
    carried.add_text("Description", _hash(target.parent))
    with PngImageFile(source) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(target, optimize=True, pnginfo=carried)


def is_current(path: pathlib.Path) -> bool:
    """Returns True if a kept picture was drawn from the results that are beside it now."""
    return style.description_of(path) == _hash(path.parent)


def _hash(folder: pathlib.Path) -> str:
    return hashlib.sha256((folder / RUNS_FILE).read_bytes()).hexdigest()
