"""How are images held without holding them in memory?"""

import dataclasses
import hashlib
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

THUMBNAIL_SIDE = 16


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


def decode_image(encoded: bytes, size: int) -> np.ndarray:
    """Decodes an image file and makes it a square.

    Args:
      encoded: a PNG or JPEG file.
      size: side of the result, in pixels.

    Returns:
      uint8 [size, size, 3].

    Raises:
      OSError: if the bytes are no image.
    """
    return resize(decode(encoded), size)


def resize(image: Image.Image, size: int) -> np.ndarray:
    """Makes an image a square of the given side, in pixels: uint8 [size, size, 3]."""
    return np.asarray(image.resize((size, size), Image.Resampling.BICUBIC))


def pixel_hash(image: Image.Image) -> int:
    """Returns 63 bits that are the same for the same pixels, whatever file they came in."""
    digest = hashlib.blake2b(repr(image.size).encode() + image.tobytes(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1


def thumbnail(image: Image.Image) -> np.ndarray:
    """Returns the mean grey of each of 16 x 16 parts: uint8 [256]."""
    side = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    return np.asarray(image.convert("L").resize(side, Image.Resampling.BOX)).reshape(-1)
