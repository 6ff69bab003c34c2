"""Images shared by two datasets, or by training and test splits."""

import collections
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.table import Table
from tfds_medvqa.common.rows import UNKNOWN

NEAR = 1.5
"""Largest mean difference between thumbnails of the same image, in grey levels of 255.

Between VQA-RAD and a downscaled and recompressed VQA-Med 2019, the 38 shared images differ by at
most 1.15, and the most similar other pairs, neighbouring slices of one scan, by at least 1.9.
"""

Splits = Mapping[str, Table]


def shared_images(first: Table, second: Table, near: float = 0.0) -> np.ndarray:
    """Finds the examples of one table whose image is in another.

    Args:
      first: First table.
      second: Second table, whose examples are reported.
      near: Largest mean difference between thumbnails of the same image, in grey levels; with 0
        only images with equal pixels count as the same.

    Returns:
      bool [examples of `second`].
    """
    shared_N = np.isin(second.pixel_hash_N, first.pixel_hash_N)
    if near <= 0 or not len(first) or not len(second):
        return shared_N
    known_MD = np.unique(first.read_thumbnails(), axis=0)
    query_MD, inverse_N = np.unique(second.read_thumbnails(), axis=0, return_inverse=True)
    return shared_N | _close(known_MD, query_MD, near)[inverse_N.reshape(-1)]


def _close(known_MD: np.ndarray, query_MD: np.ndarray, near: float) -> np.ndarray:
    """Returns, for every queried thumbnail, True if a known one is near.

    Thumbnails whose mean grey values differ by more than `near` differ by more than that on
    average, so only a window of the thumbnails sorted by their mean is compared.
    """
    mean_M = known_MD.mean(1)
    order = np.argsort(mean_M)
    known_MD, mean_M = known_MD[order].astype(np.int16), mean_M[order]
    close = np.zeros(len(query_MD), bool)
    for index, query_D in enumerate(query_MD.astype(np.int16)):
        grey = query_D.mean()
        window = slice(*np.searchsorted(mean_M, (grey - near, grey + near)))
        difference = np.abs(known_MD[window] - query_D).mean(1)
        close[index] = bool((difference < near).any())
    return close


def drop_duplicates(
    datasets: Mapping[str, Splits], near: float, elsewhere_M: np.ndarray | None = None
) -> tuple[dict[str, Splits], dict]:
    """Keeps an image that several datasets contain in the first of them only.

    Args:
      datasets: Dataset to split to table, in the order of the config.
      near: Tolerance, see `shared_images`.
      elsewhere_M: int64 hashes of the pixels of images that come before all of these, and are not
        here themselves.

    Returns:
      (remaining datasets, dataset to numbers of dropped (images, examples)).
    """
    kept: dict[str, Splits] = {}
    dropped: dict[str, tuple[int, int]] = {}
    for name, splits in datasets.items():
        remaining, images, examples = {}, 0, 0
        for split, table in splits.items():
            drop_N = np.isin(table.pixel_hash_N, () if elsewhere_M is None else elsewhere_M)
            for earlier in (part for other in kept.values() for part in other.values()):
                drop_N |= shared_images(earlier, table, near)
            remaining[split] = table.take(~drop_N)
            images += len(np.unique(table.pixel_hash_N[drop_N]))
            examples += int(drop_N.sum())
        kept[name] = remaining
        if examples:
            dropped[name] = (images, examples)
    return kept, dropped


def count_leaks(train: Sequence[Table], test: Sequence[Table]) -> dict[tuple[str, str], int]:
    """Counts the test images that are also in training splits.

    Args:
      train: Training tables of a federation.
      test: Test tables of the same federation.

    Returns:
      (dataset of the test image, dataset of the training image) to number of images; the same
      dataset twice where its released splits overlap.
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


def count_repeats(table: Table) -> int:
    """Counts the examples whose image, question and answer an earlier example has, too."""
    question_N, answer_N = (table.columns[name].code_N for name in ("question", "answer"))
    combined_N = _number_pairs(_number_pairs(table.pixel_hash_N, question_N), answer_N)
    return len(table) - len(np.unique(combined_N))


def _number_pairs(first_N: np.ndarray, second_N: np.ndarray) -> np.ndarray:
    """Returns an int64 per example that is equal where both numbers are; the second are >= 0."""
    number_N = np.unique(first_N, return_inverse=True)[1].reshape(-1).astype(np.int64)
    return number_N * (int(second_N.max(initial=0)) + 1) + second_N


PATIENT = ("dataset", "client", "patient")
"""Columns that identify a patient: hospitals may give several patients the same identifier."""


def count_patients(splits: Splits) -> tuple[dict[str, int], int]:
    """Counts the patients of one client.

    Args:
      splits: Split to examples.

    Returns:
      (split to number of patients that are known, number of patients of the test split who are in
      another split, too).
    """
    known = {split: known_patients(table) for split, table in splits.items()}
    others = set().union(*(found for split, found in known.items() if split != "test"))
    return {split: len(found) for split, found in known.items()}, len(known["test"] & others)


def number_patients(table: Table) -> np.ndarray:
    """Returns int64 [N], equal for examples of one patient, and of unknown ones of a hospital."""
    numbers_N = np.zeros(len(table), np.int64)
    for name in PATIENT:
        numbers_N = _number_pairs(numbers_N, table.columns[name].code_N)
    return numbers_N


def known_patients(table: Table) -> set[tuple[str, ...]]:
    """Returns the patients of the examples that name one, each as its values of `PATIENT`."""
    columns = [table.columns[name] for name in PATIENT]
    _, first = np.unique(number_patients(table), return_index=True)
    patients = {tuple(column.values[column.code_N[index]] for column in columns) for index in first}
    return {patient for patient in patients if patient[-1] != UNKNOWN}


DUPLICATES = {"keep": None, "exact": 0.0, "near": NEAR}
"""Maps a value of `config.data.duplicates` to the tolerance of `drop_duplicates`."""
