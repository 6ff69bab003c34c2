"""Which images are in two datasets, or in train and test?"""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.table import Table

NEAR = 1.5
"""Grey levels, of 255, by which thumbnails of the same image may differ on average.

Between VQA-RAD and VQA-Med 2019 made smaller and compressed anew, the 38 shared images differ by at
most 1.15 and the next pairs, neighbouring slices of one scan, by at least 1.9.
"""

Splits = Mapping[str, Table]


def shared_images(first: Table, second: Table, near: float = 0.0) -> np.ndarray:
    """Finds the examples of one table whose image is in another.

    Args:
      first: a table.
      second: another.
      near: how much thumbnails of what counts as the same image may differ on average, in grey
        levels; with 0 only the same pixels count.

    Returns:
      bool [examples of `second`].
    """
    shared_N = np.isin(second.pixel_hash_N, first.pixel_hash_N)
    if near <= 0 or not len(first) or not len(second):
        return shared_N
    known_MD = np.unique(first.read_thumbnails(), axis=0)
    asked_MD, place_N = np.unique(second.read_thumbnails(), axis=0, return_inverse=True)
    return shared_N | _close(known_MD, asked_MD, near)[place_N.reshape(-1)]


def _close(known_MD: np.ndarray, asked_MD: np.ndarray, near: float) -> np.ndarray:
    """Says of every asked thumbnail whether a known one is near.

    Thumbnails whose mean grey differs by more than `near` differ by more than that on average, so
    only a window of those sorted by their mean is looked at.
    """
    mean_M = known_MD.mean(1)
    order = np.argsort(mean_M)
    known_MD, mean_M = known_MD[order].astype(np.int16), mean_M[order]
    close = np.zeros(len(asked_MD), bool)
    for place, asked_D in enumerate(asked_MD.astype(np.int16)):
        grey = asked_D.mean()
        window = slice(*np.searchsorted(mean_M, (grey - near, grey + near)))
        difference = np.abs(known_MD[window] - asked_D).mean(1)
        close[place] = bool((difference < near).any())
    return close


def drop_shared(datasets: Mapping[str, Splits], near: float) -> tuple[dict[str, Splits], dict]:
    """Keeps an image that several datasets have in the first of them only.

    Args:
      datasets: name to split to table, in the order of the config.
      near: see `shared_images`.

    Returns:
      (the datasets without what was dropped, dataset to (images, examples) dropped).
    """
    kept: dict[str, Splits] = {}
    dropped: dict[str, tuple[int, int]] = {}
    for name, splits in datasets.items():
        left, images, examples = {}, 0, 0
        for split, table in splits.items():
            gone_N = np.zeros(len(table), bool)
            for earlier in (part for other in kept.values() for part in other.values()):
                gone_N |= shared_images(earlier, table, near)
            left[split] = table.take(~gone_N)
            images += len(np.unique(table.pixel_hash_N[gone_N]))
            examples += int(gone_N.sum())
        kept[name] = left
        if examples:
            dropped[name] = (images, examples)
    return kept, dropped


def leaks(train: Sequence[Table], test: Sequence[Table]) -> dict[tuple[str, str], int]:
    """Counts the test images that are also trained on.

    Args:
      train: the training tables of a federation.
      test: its test tables.

    Returns:
      (dataset of the test image, dataset of the training image) to how many images; the same
      dataset twice where the released split has them in both.
    """
    trained: dict[int, set[str]] = collections.defaultdict(set)
    for table in train:
        for pixels, dataset in zip(
            table.pixel_hash_N.tolist(), table.texts("dataset"), strict=True
        ):
            trained[pixels].add(dataset)
    tested = {
        (pixels, dataset)
        for table in test
        for pixels, dataset in zip(table.pixel_hash_N.tolist(), table.texts("dataset"), strict=True)
    }
    return dict(
        collections.Counter(
            (dataset, origin) for pixels, dataset in tested for origin in trained.get(pixels, ())
        )
    )


DUPLICATES = {"keep": None, "exact": 0.0, "near": NEAR}
"""Values of `config.data.duplicates`: what `drop_shared` takes for the same image."""
