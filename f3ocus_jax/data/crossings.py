"""Patients and images that cross the splits of a federation: equal, and nearly equal ones."""

import dataclasses
import itertools
from collections.abc import Mapping

import numpy as np

from f3ocus_jax.data import overlap
from f3ocus_jax.data.table import Table, join_tables

ORDER = ("train", "validation", "test")
"""Splits in the order in which they are compared."""


@dataclasses.dataclass(frozen=True)
class Crossing:
    """What two splits share.

    Attributes:
      first: Name of the first split.
      second: Name of the second split.
      patients: Number of known patients of the second split who are in the first, too.
      equal: Number of images of the second split whose pixels are in the first, too.
      near: Number of images of the second split that an image of the first resembles, equal ones
        among them.
    """

    first: str
    second: str
    patients: int
    equal: int
    near: int


@dataclasses.dataclass(frozen=True)
class SplitCount:
    """Images of a split, counted by their pixels, and its known patients."""

    images: int
    patients: int


def count_splits(clients: Mapping[str, Mapping[str, Table]]) -> dict[str, SplitCount]:
    """Counts the different images and the known patients of every split of all clients.

    Args:
      clients: Client to split to examples.

    Returns:
      Split to counts.
    """
    return {
        split: SplitCount(len(np.unique(table.pixel_hash_N)), len(overlap.known_patients(table)))
        for split, table in _joined(clients).items()
    }


def find_crossings(
    clients: Mapping[str, Mapping[str, Table]], near: float = overlap.NEAR
) -> list[Crossing]:
    """Counts what each two splits share, over all clients.

    Args:
      clients: Client to split to examples.
      near: Largest mean difference between thumbnails of images that resemble each other, in grey
        levels; see `overlap.NEAR`.

    Returns:
      One entry for each two splits.
    """
    splits = _joined(clients)
    known = {split: overlap.known_patients(table) for split, table in splits.items()}
    return [
        Crossing(
            first,
            second,
            len(known[first] & known[second]),
            _count_shared(splits[first], splits[second], 0.0),
            _count_shared(splits[first], splits[second], near),
        )
        for first, second in itertools.combinations(splits, 2)
    ]


def _joined(clients: Mapping[str, Mapping[str, Table]]) -> dict[str, Table]:
    """Returns the splits of all clients together, in the order of `ORDER`."""
    parts = {
        split: [splits[split] for splits in clients.values() if len(splits.get(split, ()))]
        for split in ORDER
    }
    return {split: join_tables(tables) for split, tables in parts.items() if tables}


def _count_shared(first: Table, second: Table, near: float) -> int:
    shared_N = overlap.shared_images(first, second, near)
    return len(np.unique(second.pixel_hash_N[shared_N]))
