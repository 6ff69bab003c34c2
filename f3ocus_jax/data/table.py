"""Table of the examples of one split: images, pixel hashes and text columns."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.images import StoredImages, join_images

DATASET_COLUMNS = ("dataset", "findings")
"""Columns that are the same for all examples of a dataset: its name, and the names of its findings
separated by ", ", or "" if it has none."""

TEXT_COLUMNS = (
    *("image_id", "task", "question", "answer", "question_type", "answer_type"),
    *("client", "patient", "language", "modality", "anatomy", "source", "label"),
    *DATASET_COLUMNS,
)
"""Columns: the text features of the shared specification, the label vector written with spaces
between its numbers, and `DATASET_COLUMNS`."""


@dataclasses.dataclass(frozen=True)
class Column:
    """N texts, dictionary-encoded.

    Attributes:
      values: Distinct texts.
      code_N: int32 index of each example's text in `values`.
    """

    values: tuple[str, ...]
    code_N: np.ndarray

    @classmethod
    def from_texts(cls, texts: Sequence[str]) -> "Column":
        """Makes a column; values are in the order of their first occurrence."""
        code_of: dict[str, int] = {}
        codes = [code_of.setdefault(text, len(code_of)) for text in texts]
        return cls(tuple(code_of), np.array(codes, np.int32))

    def texts(self) -> list[str]:
        """Returns all N texts."""
        return [self.values[code] for code in self.code_N.tolist()]

    def take(self, indices: np.ndarray) -> "Column":
        """Selects examples, and keeps only their values."""
        used, code_N = np.unique(self.code_N[indices], return_inverse=True)
        values = tuple(self.values[code] for code in used.tolist())
        return Column(values, code_N.astype(np.int32))


@dataclasses.dataclass(frozen=True)
class Table:
    """N examples.

    Attributes:
      images: Images of the examples, on their canvas.
      pixel_hash_N: int64, equal for images with the same pixels at full size.
      thumbnails: Thumbnails of the same images, uint8 [256] each: 16 x 16 grey values.
      columns: Name to column, for all of `TEXT_COLUMNS`.
      image_size_N2: int32 height and width of the images on their canvas, in pixels; None if all
        images fill it.
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
        """Selects examples by int indices or a bool mask."""
        indices = np.flatnonzero(indices) if indices.dtype == bool else indices
        return Table(
            self.images.take(indices),
            self.pixel_hash_N[indices],
            self.thumbnails.take(indices),
            {name: column.take(indices) for name, column in self.columns.items()},
            None if self.image_size_N2 is None else self.image_size_N2[indices],
        )


def join_tables(parts: Sequence[Table]) -> Table:
    """Concatenates tables whose images are all fitted to the same canvas."""
    sizes = [part.image_size_N2 for part in parts if part.image_size_N2 is not None]
    return Table(
        join_images([part.images for part in parts]),
        np.concatenate([part.pixel_hash_N for part in parts]),
        join_images([part.thumbnails for part in parts]),
        {
            name: Column.from_texts([text for part in parts for text in part.texts(name)])
            for name in TEXT_COLUMNS
        },
        np.concatenate(sizes) if sizes else None,
    )
