"""Small tables, made by hand or read from the builders' dummy data."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from f3ocus_jax.data.images import StoredImages
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.data.table import TEXT_COLUMNS, Column, Table
from tests.helpers.paths import DATASETS
from tfds_medvqa.common.features import QUESTION_ANSWERING
from tfds_medvqa.common.rows import UNKNOWN

DUMMY = DATASETS


def data_config(data_dir: pathlib.Path, *datasets: str, **settings: Any) -> DataConfig:
    """Settings of a federation from dummy data, with some replaced."""
    defaults: dict[str, Any] = {
        "partition": ("dataset",),
        "clients_per_dataset": 0,
        "dirichlet_alpha": 0.5,
        "partition_seed": 0,
        "validation_share": 0.0,
        "duplicates": "exact",
        "manual_dir": "",
        "question_length": 12,
        "minimum_answer_count": 1,
        "answer_length": 8,
        "image_fit": "stretch",
        "canvas_size": 0,
    }
    return DataConfig(datasets=datasets, data_dir=str(data_dir), **(defaults | settings))


def dummy(dataset: str) -> str:
    return str(DUMMY / dataset / "dummy_data")


def table(
    hashes: Sequence[int],
    answers: Sequence[str],
    dataset: str = "a",
    *,
    thumbnail_ND: np.ndarray | None = None,
    **columns: Sequence[str],
) -> Table:
    """Examples whose image number is all that their pixels and thumbnails tell, unless given."""
    count = len(hashes)
    hash_N = np.array(hashes, np.int64)
    pixels = (hash_N[:, None, None, None] % 251 * np.ones((1, 2, 2, 3))).astype(np.uint8)
    rows = np.arange(count, dtype=np.int32)
    if thumbnail_ND is None:
        thumbnail_ND = (hash_N[:, None] * 37 % 251 * np.ones((1, 256))).astype(np.uint8)
    given = {
        **dict.fromkeys(TEXT_COLUMNS, ["x"] * count),
        "patient": [UNKNOWN] * count,
        "language": [UNKNOWN] * count,
        "task": [QUESTION_ANSWERING] * count,
        "dataset": [dataset] * count,
        "answer": answers,
        **columns,
    }
    texts = {name: Column.from_texts(list(values)) for name, values in given.items()}
    images = StoredImages((pixels,), np.zeros(count, np.int32), rows)
    thumbnails = StoredImages((thumbnail_ND,), np.zeros(count, np.int32), rows)
    return Table(images, hash_N, thumbnails, texts)
