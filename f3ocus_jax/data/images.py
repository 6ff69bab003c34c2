"""How are images held without holding them in memory?"""

import dataclasses
import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 16

LONGEST = 1333 / 800
"""Longer edge of an image over its shorter one at most, as ViLT's image processor has it."""


@dataclasses.dataclass(frozen=True)
class Canvas:
    """The square canvas that images are put on.

    Attributes:
      side: of the canvas, in pixels.
      shortest_edge: 0 for images that are stretched over the whole canvas. Else images keep their
        aspect ratio, and this is the shorter edge of one that fits, in pixels.
      multiple: what both edges of such an image are cut to a multiple of, and the side is one of.
    """

    side: int
    shortest_edge: int = 0
    multiple: int = 1

    @property
    def keeps_aspect(self) -> bool:
        """Whether images keep their aspect ratio, so that they differ in size."""
        return self.shortest_edge > 0

    def edges(self, height: int, width: int) -> tuple[int, int]:
        """Tells how large an image becomes, in pixels.

        As transformers' ViltImageProcessor does, rounding included; an image that is too long for
        the canvas is made smaller than there, and one too thin for a patch gets one.

        Args:
          height: of the image.
          width: of the image.

        Returns:
          (height, width) on the canvas.
        """
        if not self.keeps_aspect:
            return self.side, self.side
        short, scale = min(height, width), self.shortest_edge / min(height, width)
        edges = [self.shortest_edge if e == short else scale * e for e in (height, width)]
        # What is cut off to a multiple may be beyond the canvas.
        longest = min(int(LONGEST * self.shortest_edge), self.side + self.multiple - 1)
        if max(edges) > longest:
            scale = longest / max(edges)
            edges = [scale * edge for edge in edges]
        units = [max(1, int(edge + 0.5) // self.multiple) for edge in edges]
        return units[0] * self.multiple, units[1] * self.multiple


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """N images that are read from files when they are asked for; several may be the same one.

    Attributes:
      stores: memory-mapped uint8 arrays [images, ...] of one shape beyond the first axis, such as
        [height, width, 3].
      store_N: int32, which of the stores an image is in.
      row_N: int32, where in it.
    """

    stores: tuple[np.ndarray, ...]
    store_N: np.ndarray
    row_N: np.ndarray

    def __len__(self) -> int:
        return len(self.row_N)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Reads images.

        Args:
          indices: int, of any shape.

        Returns:
          uint8, the shape of `indices` followed by that of an image.
        """
        store, row = self.store_N[indices], self.row_N[indices]
        images = np.empty((*np.shape(row), *self.stores[0].shape[1:]), np.uint8)
        for place, pixels in enumerate(self.stores):
            here = store == place
            images[here] = pixels[row[here]]
        return images

    def take(self, indices: np.ndarray) -> "StoredImages":
        """Chooses images without reading them."""
        return StoredImages(self.stores, self.store_N[indices], self.row_N[indices])


def join(parts: Sequence[StoredImages]) -> StoredImages:
    """Puts images behind each other without reading them."""
    offsets = np.cumsum([0, *(len(part.stores) for part in parts)])
    return StoredImages(
        tuple(store for part in parts for store in part.stores),
        np.concatenate(
            [part.store_N + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
        ),
        np.concatenate([part.row_N for part in parts]),
    )


def decode(encoded: bytes) -> Image.Image:
    """Decodes an image file, PNG or JPEG, as eight-bit colour.

    Raises:
      OSError: if the bytes are no image.
    """
    with Image.open(io.BytesIO(encoded)) as image:
        return image.convert("RGB")


def decode_image(encoded: bytes, frame: Canvas) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes an image file and puts it on a canvas.

    Args:
      encoded: a PNG or JPEG file.
      frame: the canvas.

    Returns:
      As `place`.

    Raises:
      OSError: if the bytes are no image.
    """
    return place(decode(encoded), frame)


def place(image: Image.Image, frame: Canvas) -> tuple[np.ndarray, tuple[int, int]]:
    """Resizes an image and puts it in the top left corner of a canvas.

    Args:
      image: of any size.
      frame: the canvas.

    Returns:
      (uint8 [side, side, 3], 0 beyond the image; its height and width there).
    """
    height, width = frame.edges(image.height, image.width)
    canvas_HWC = np.zeros((frame.side, frame.side, 3), np.uint8)
    canvas_HWC[:height, :width] = np.asarray(
        image.resize((width, height), Image.Resampling.BICUBIC)
    )
    return canvas_HWC, (height, width)


def pixel_hash(image: Image.Image) -> int:
    """Returns 63 bits that are the same for the same pixels, whatever file they came in."""
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1


def thumbnail(image: Image.Image) -> np.ndarray:
    """Returns the mean grey of each of 16 x 16 parts: uint8 [256]."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(image.convert("L").resize(side, Image.Resampling.BOX)).reshape(-1)
