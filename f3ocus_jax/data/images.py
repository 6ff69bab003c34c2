"""Images: decoding, fitting to a canvas, hashing, and storage in memory-mapped files."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

from tfds_medvqa.common.image_limits import DEFAULT_DECODING, DecodeOptions
from tfds_medvqa.common.images import decode_rgb

THUMBNAIL_SIDE = 16

MAX_ASPECT_RATIO = 1333 / 800
"""Largest ratio of an image's longer edge to its shorter one, as in ViLT's image processor."""


@dataclasses.dataclass(frozen=True)
class Canvas:
    """Square canvas that images are fitted to.

    Attributes:
      side: Side of the canvas, in pixels.
      shortest_edge: 0 for images that are stretched over the whole canvas. Otherwise images keep
        their aspect ratio, and this is the shorter edge of an image that fits, in pixels.
      multiple: Both edges of such an image are cut down to a multiple of this many pixels; the
        side is a multiple too.
    """

    side: int
    shortest_edge: int = 0
    multiple: int = 1

    @property
    def keeps_aspect(self) -> bool:
        """True if images keep their aspect ratio, so that they differ in size."""
        return self.shortest_edge > 0

    def fitted_size(self, height: int, width: int) -> tuple[int, int]:
        """Returns the size of an image on the canvas.

        Sizes are those of transformers' ViltImageProcessor, rounding included, except that an
        image too long for the canvas is made smaller, and one thinner than a patch gets one patch.

        Args:
          height: Height of the image, in pixels.
          width: Width of the image, in pixels.

        Returns:
          (height, width) on the canvas, in pixels.
        """
        if not self.keeps_aspect:
            return self.side, self.side
        short, scale = min(height, width), self.shortest_edge / min(height, width)
        edges = [self.shortest_edge if e == short else scale * e for e in (height, width)]
        # The part that is cut off to a multiple may lie beyond the canvas.
        longest = min(int(MAX_ASPECT_RATIO * self.shortest_edge), self.side + self.multiple - 1)
        if max(edges) > longest:
            scale = longest / max(edges)
            edges = [scale * edge for edge in edges]
        units = [max(1, int(edge + 0.5) // self.multiple) for edge in edges]
        return units[0] * self.multiple, units[1] * self.multiple


@dataclasses.dataclass(frozen=True)
class StoredImages:
    """N images that are read from files on demand; several may be the same image.

    Attributes:
      stores: Memory-mapped uint8 arrays [images, ...] whose shapes agree beyond the first axis,
        such as [height, width, 3].
      store_N: int32 index into `stores`.
      row_N: int32 row of the image in its store.
    """

    stores: tuple[np.ndarray, ...]
    store_N: np.ndarray
    row_N: np.ndarray

    def __len__(self) -> int:
        return len(self.row_N)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """Reads images.

        Args:
          indices: int array of any shape.

        Returns:
          uint8; the shape of `indices` followed by that of an image.
        """
        store, row = self.store_N[indices], self.row_N[indices]
        images = np.empty((*np.shape(row), *self.stores[0].shape[1:]), np.uint8)
        for index, pixels in enumerate(self.stores):
            in_store = store == index
            images[in_store] = pixels[row[in_store]]
        return images

    def take(self, indices: np.ndarray) -> "StoredImages":
        """Selects images without reading them."""
        return StoredImages(self.stores, self.store_N[indices], self.row_N[indices])


def join_images(parts: Sequence[StoredImages]) -> StoredImages:
    """Concatenates images without reading them."""
    offsets = np.cumsum([0, *(len(part.stores) for part in parts)])
    return StoredImages(
        tuple(store for part in parts for store in part.stores),
        np.concatenate(
            [part.store_N + offset for part, offset in zip(parts, offsets[:-1], strict=True)]
        ),
        np.concatenate([part.row_N for part in parts]),
    )


def decode_image(
    encoded: bytes, canvas: Canvas, options: DecodeOptions = DEFAULT_DECODING
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes an image file and fits it to a canvas.

    Args:
      encoded: Bytes of an image file.
      canvas: Canvas of the model.
      options: Limit of pixels, and the page of a file that has several.

    Returns:
      The image and its size, see `fit_to_canvas`.

    Raises:
      ImageError: if the bytes are no image, or one with more pixels.
    """
    return fit_to_canvas(decode_rgb(encoded, options), canvas)


def fit_to_canvas(image: Image.Image, canvas: Canvas) -> tuple[np.ndarray, tuple[int, int]]:
    """Resizes an image and puts it in the top left corner of a canvas.

    Args:
      image: Image of any size.
      canvas: Canvas of the model.

    Returns:
      (uint8 [side, side, 3], 0 beyond the image; height and width of the image on the canvas).
    """
    height, width = canvas.fitted_size(image.height, image.width)
    canvas_HWC = np.zeros((canvas.side, canvas.side, 3), np.uint8)
    canvas_HWC[:height, :width] = np.asarray(
        image.resize((width, height), Image.Resampling.BICUBIC)
    )
    return canvas_HWC, (height, width)


def pixel_hash(image: Image.Image) -> int:
    """Returns a 63-bit hash of the pixels, which does not depend on the file format."""
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1


def thumbnail(image: Image.Image) -> np.ndarray:
    """Returns the mean grey value of each of 16 x 16 parts: uint8 [256]."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(image.convert("L").resize(side, Image.Resampling.BOX)).reshape(-1)
