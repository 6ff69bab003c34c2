"""What is known of every example of one split of one dataset?"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.images import StoredImages, join

OF_DATASET = ("dataset", "findings")
"""Columns that are the same for all examples of a dataset: its name, and what its label vectors
stand for, with ", " between names; "" where it has no findings."""

TEXTS = (
    *("image_id", "task", "question", "answer", "question_type", "answer_type"),
    *("client", "modality", "anatomy", "source", "label", *OF_DATASET),
)
"""Columns: the features of the shared spec that are text, the label vector written with spaces
between its numbers, and those of `OF_DATASET`."""


@dataclasses.dataclass(frozen=True)
class Column:
    """N texts, of which each different one is kept once.

    Attributes:
      values: the different texts.
      code_N: int32, which of them an example has.
    """

    values: tuple[str, ...]
    code_N: np.ndarray

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Column":
        """Makes a column; values are in the order of their first occurrence."""
        places: dict[str, int] = {}
        codes = [places.setdefault(text, len(places)) for text in texts]
        return cls(tuple(places), np.array(codes, np.int32))

    def texts(self) -> list[str]:
        """Returns all N texts."""
        return [self.values[code] for code in self.code_N.tolist()]

    def take(self, indices: np.ndarray) -> "Column":
        """Chooses examples, and keeps only the values they have."""
        used, code_N = np.unique(self.code_N[indices], return_inverse=True)
        values = tuple(self.values[code] for code in used.tolist())
        return Column(values, code_N.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class Table:
    """N examples.

    Attributes:
      images: of the examples.
      pixel_hash_N: int64, equal where two images have the same pixels at full size.
      thumbnails: of the same images, [256] each: 16 x 16 in grey.
      columns: by name, those of `TEXTS`.
      image_size_N2: int32, height and width of the images on their canvas, in pixels; None where
        all fill it.
    """

    images: StoredImages
    pixel_hash_N: np.ndarray
    thumbnails: StoredImages
    columns: Mapping[str, Column]
    image_size_N2: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.pixel_hash_N)

    def read_thumbnails(self) -> np.ndarray:
        """Returns all thumbnails: uint8 [N, 256]."""
        return self.thumbnails[np.arange(len(self))]

    def texts(self, name: str) -> list[str]:
        """Returns a column's texts."""
        return self.columns[name].texts()

    def take(self, indices: np.ndarray) -> "Table":
        """Chooses examples, by int indices or a bool mask."""
        indices = np.flatnonzero(indices) if indices.dtype == bool else indices
        return Table(
            self.images.take(indices),
            self.pixel_hash_N[indices],
            self.thumbnails.take(indices),
            {name: column.take(indices) for name, column in self.columns.items()},
            None if self.image_size_N2 is None else self.image_size_N2[indices],
        )


def join_tables(parts: Sequence[Table]) -> Table:
    """Puts tables behind each other, whose images were all put on their canvas in one way."""
    sizes = [part.image_size_N2 for part in parts if part.image_size_N2 is not None]
    return Table(
        join([part.images for part in parts]),
        np.concatenate([part.pixel_hash_N for part in parts]),
        join([part.thumbnails for part in parts]),
        {name: Column.of([text for part in parts for text in part.texts(name)]) for name in TEXTS},
        np.concatenate(sizes) if sizes else None,
    )
