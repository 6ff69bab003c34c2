"""Streaming of a subset's images and labels from its npz file, with checks for damage."""

import hashlib
import pathlib
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO

import numpy as np

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.medvqa_fl.records import MEDMNIST_SPLITS, Record


def check_md5(path: pathlib.Path, expected: str) -> None:
    """Compares a file's checksum with MedMNIST's.

    Raises:
      BuildError: if they differ.
    """
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != expected:
        raise BuildError(
            f"{path}: md5 is {found}, expected {expected}; the file is truncated or not MedMNIST's "
            "own, remove it and download it again"
        )


def read(
    path: pathlib.Path, record: Record, resolution: int
) -> Iterator[tuple[str, np.ndarray, tuple[int, ...]]]:
    """Streams a subset, with at most one image in memory.

    Args:
      path: Path of its npz file, with arrays `{train,val,test}_{images,labels}`.
      record: Expected content of the file.
      resolution: Side of the images, in pixels.

    Yields:
      (image id such as "breastmnist/train/17", uint8 image [side, side] or [side, side, 3], label).

    Raises:
      BuildError: for a file that cannot be read, an array that is missing or has the wrong shape
        or dtype, or an unknown label.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for split in MEDMNIST_SPLITS:
                labels = _labels(archive, path, split, record)
                images = _images(archive, path, split, record, resolution)
                for index, (image, label) in enumerate(zip(images, labels, strict=True)):
                    yield f"{record.name}/{split}/{index}", image, label
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise BuildError(f"{path}: cannot be read as an npz file ({error})") from error


def _images(
    archive: zipfile.ZipFile, path: pathlib.Path, split: str, record: Record, resolution: int
) -> Iterator[np.ndarray]:
    colour = () if record.channels == 1 else (record.channels,)
    expected = (record.counts[split], resolution, resolution, *colour)
    with _open(archive, path, f"{split}_images") as file:
        dtype = _check_header(file, path, f"{split}_images", expected)
        if dtype != np.uint8:
            raise BuildError(f"{path}: {split}_images has dtype {dtype}, expected uint8")
        size = int(np.prod(expected[1:]))
        for _ in range(expected[0]):
            pixels = file.read(size)
            if len(pixels) != size:
                raise BuildError(f"{path}: {split}_images ends early, expected {expected}")
            yield np.frombuffer(pixels, np.uint8).reshape(expected[1:])


def _labels(
    archive: zipfile.ZipFile, path: pathlib.Path, split: str, record: Record
) -> list[tuple[int, ...]]:
    columns = len(record.labels) if record.multi_label else 1
    expected = (record.counts[split], columns)
    with _open(archive, path, f"{split}_labels") as file:
        dtype = _check_header(file, path, f"{split}_labels", expected)
        if dtype.kind not in "bui":
            raise BuildError(f"{path}: {split}_labels has dtype {dtype}, expected an integer type")
        content = file.read()
    if len(content) != dtype.itemsize * expected[0] * columns:
        raise BuildError(f"{path}: {split}_labels ends early, expected {expected}")
    labels = np.frombuffer(content, dtype).reshape(expected).astype(np.int64)
    known = 2 if record.multi_label else len(record.labels)
    wrong = np.argwhere((labels < 0) | (labels >= known))
    if len(wrong):
        row, column = wrong[0]
        raise BuildError(
            f"{path}: {split}_labels holds {labels[row, column]} for image {row}, expected "
            f"0 to {known - 1}"
        )
    return [tuple(label) for label in labels.tolist()]


def _open(archive: zipfile.ZipFile, path: pathlib.Path, name: str) -> IO[bytes]:
    try:
        return archive.open(f"{name}.npy")
    except KeyError as error:
        raise BuildError(f"{path}: array {name} is missing") from error


def _check_header(
    file: IO[bytes], path: pathlib.Path, name: str, expected: tuple[int, ...]
) -> np.dtype:
    """Reads the header of an npy stream, which leaves the file at its first value."""
    try:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran_order, dtype = read_header(file)
    except (ValueError, KeyError) as error:
        raise BuildError(f"{path}: {name} is not an npy array ({error})") from error
    if shape != expected or fortran_order:
        order = " in Fortran order" if fortran_order else ""
        raise BuildError(f"{path}: {name} has shape {shape}{order}, expected {expected}")
    return dtype
