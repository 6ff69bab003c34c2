"""Small files in MedMNIST's layout, for the subsets that are too large to carry around."""

import dataclasses
import hashlib
import pathlib
from collections.abc import Mapping

import numpy as np

from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.medvqa_fl.records import MEDMNIST_SPLITS, Record

COUNTS = {"train": 23, "val": 5, "test": 9}
FEW = {"train": 6, "val": 2, "test": 2}


def arrays(record: Record, resolution: int = 28) -> dict[str, np.ndarray]:
    """Random images and labels that use every label."""
    draw = np.random.default_rng(len(record.name))
    colour = () if record.channels == 1 else (3,)
    content = {}
    for split in MEDMNIST_SPLITS:
        count = record.counts[split]
        shape = (count, resolution, resolution, *colour)
        content[f"{split}_images"] = draw.integers(0, 256, shape).astype(np.uint8)
        if record.multi_label:
            labels = draw.random((count, len(record.labels))) < 0.1
        else:
            labels = np.arange(count)[:, None] % len(record.labels)
        content[f"{split}_labels"] = labels.astype(np.uint8)
    return content


def write(
    folder: pathlib.Path,
    name: str,
    resolution: int = 28,
    counts: Mapping[str, int] = COUNTS,
    **changed: np.ndarray | None,
) -> tuple[pathlib.Path, Record]:
    """Writes one subset's file; `changed` replaces arrays, None leaves one out."""
    record = dataclasses.replace(records.load()[name], counts=counts)
    content = {
        key: value
        for key, value in (arrays(record, resolution) | changed).items()
        if value is not None
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / record.file_name(resolution)
    np.savez_compressed(path, **content)
    return path, with_md5_of(path, record, resolution)


def with_md5_of(path: pathlib.Path, record: Record, resolution: int = 28) -> Record:
    """The record, expecting just this file."""
    md5 = {**record.md5, resolution: hashlib.md5(path.read_bytes()).hexdigest()}
    return dataclasses.replace(record, md5=md5)
