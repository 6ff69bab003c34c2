"""How is every image of a built dataset decoded and resized once, and never again?"""

import dataclasses
import hashlib
import json
import os
import pathlib
import shutil
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from f3ocus_jax.data import images
from f3ocus_jax.data.images import Canvas, StoredImages
from f3ocus_jax.data.table import OF_DATASET, TEXTS, Column, Table
from f3ocus_jax.errors import DataError

FORMAT = 2
"""Raised whenever what is written changes, so that older caches are made anew."""


def load(builder: tfds.core.DatasetBuilder, dataset: str, split: str, frame: Canvas) -> Table:
    """Reads one split, from its cache if there is one.

    The cache lies in the built dataset's folder, one for every split and frame. It is written
    beside its place and renamed at the end, so that one that was stopped is never taken for whole,
    and made anew when the built dataset changes.

    Args:
      builder: of a dataset that is built.
      dataset: its name with config, for the column of this name and for messages.
      split: such as "train".
      frame: the canvas the images are put on.

    Returns:
      The examples; their images stay in a file and are mapped into memory.

    Raises:
      DataError: for an example that cannot be decoded.
      OSError: if the cache cannot be written.
    """
    root = pathlib.Path(builder.data_dir) / f"arrays_{_name(frame)}"
    folder, identity = root / split, _identity(builder, frame)
    if not _is_whole(folder, identity):
        root.mkdir(exist_ok=True)
        unfinished = root / f"incomplete.{split}.{os.getpid()}"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        _write(builder, dataset, split, frame, unfinished)
        (unfinished / "identity.json").write_text(json.dumps(identity))
        shutil.rmtree(folder, ignore_errors=True)
        unfinished.rename(folder)
    findings = ", ".join((builder.info.metadata or {}).get("findings", ()))
    return _read(folder, dataset, findings, frame)


def _name(frame: Canvas) -> str:
    padded = f"_padded_{frame.shortest_edge}_{frame.multiple}" if frame.keeps_aspect else ""
    return f"{frame.side}px{padded}"


def _identity(builder: tfds.core.DatasetBuilder, frame: Canvas) -> dict[str, Any]:
    """What a cache was made of and for."""
    files = sorted(pathlib.Path(builder.data_dir).glob("*.array_record*"))
    return {
        "format": FORMAT,
        "frame": dataclasses.asdict(frame),
        "files": [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files],
    }


def _is_whole(folder: pathlib.Path, identity: Mapping[str, Any]) -> bool:
    path = folder / "identity.json"
    return path.is_file() and json.loads(path.read_text()) == identity


def _write(
    builder: tfds.core.DatasetBuilder, dataset: str, split: str, frame: Canvas, folder: pathlib.Path
) -> None:
    """Streams all examples; an image that several examples share is decoded and written once."""
    rows: dict[bytes, int] = {}
    files: list[bytes] = []
    hashes: list[int] = []
    sizes: list[tuple[int, int]] = []
    texts: dict[str, list[str]] = {name: [] for name in TEXTS if name not in OF_DATASET}
    with (
        (folder / "pixels.bin").open("wb") as pixels,
        (folder / "thumbnails.bin").open("wb") as thumbnails,
    ):
        for record in _decoded(builder, dataset, split, frame):
            if "pixels" in record:
                rows[record["file"]] = len(rows)
                hashes.append(record["hash"])
                sizes.append(record["size"])
                pixels.write(record["pixels"])
                thumbnails.write(record["thumbnail"])
            files.append(record["file"])
            for name, column in texts.items():
                column.append(record[name])
    np.save(folder / "row.npy", np.array([rows[file] for file in files], np.int32))
    np.save(folder / "pixel_hash.npy", np.array(hashes, np.int64))
    np.save(folder / "image_size.npy", np.array(sizes, np.int32))
    for name, column in texts.items():
        _write_column(folder, name, Column.of(column))


def _decoded(
    builder: tfds.core.DatasetBuilder, dataset: str, split: str, frame: Canvas
) -> Iterator[dict[str, Any]]:
    """Yields every example, read by several threads ahead of time.

    The thread that meets an image first decodes it, so that its pixels may come with a later
    example than its first.
    """
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    met: set[bytes] = set()
    lock = threading.Lock()

    def read(index: int) -> dict[str, Any]:
        try:
            record = source[int(index)]
            file = hashlib.blake2b(record["image"], digest_size=16).digest()
            with lock:
                is_new = file not in met
                met.add(file)
            return _texts(record) | {"file": file} | (_pixels(record, frame) if is_new else {})
        except (OSError, SyntaxError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{dataset}, split {split}, example {index}: cannot be read ({error}); "
                "delete the built dataset and build it again"
            ) from error

    yield from grain.MapDataset.range(len(source)).map(read).to_iter_dataset()


def _texts(record: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: record[name].decode() for name in TEXTS if name not in ("label", *OF_DATASET)}
    return texts | {"label": " ".join(map(str, record["label"]))}


def _pixels(record: Mapping[str, Any], frame: Canvas) -> dict[str, Any]:
    image = images.decode(record["image"])
    canvas_HWC, size = images.place(image, frame)
    return {
        "hash": images.pixel_hash(image),
        "pixels": canvas_HWC.tobytes(),
        "size": size,
        "thumbnail": images.thumbnail(image).tobytes(),
    }


def _write_column(folder: pathlib.Path, name: str, column: Column) -> None:
    (folder / f"{name}.json").write_text(json.dumps(column.values, ensure_ascii=False))
    np.save(folder / f"{name}.npy", column.code_N)


def _read(folder: pathlib.Path, dataset: str, findings: str, frame: Canvas) -> Table:
    row_N, hash_M = np.load(folder / "row.npy"), np.load(folder / "pixel_hash.npy")
    shape = (len(hash_M), frame.side, frame.side, 3)
    pixels = np.memmap(folder / "pixels.bin", np.uint8, "r", shape=shape)
    size_N2 = np.load(folder / "image_size.npy")[row_N] if frame.keeps_aspect else None
    area = images.THUMBNAIL_SIDE**2
    thumbnail_MD = np.memmap(folder / "thumbnails.bin", np.uint8, "r", shape=(len(hash_M), area))
    columns = {
        name: Column(
            tuple(json.loads((folder / f"{name}.json").read_text())),
            np.load(folder / f"{name}.npy"),
        )
        for name in TEXTS
        if name not in OF_DATASET
    }
    for name, value in zip(OF_DATASET, (dataset, findings), strict=True):
        columns[name] = Column((value,), np.zeros(len(row_N), np.int32))
    images_N, thumbnails_N = (
        StoredImages((store,), np.zeros(len(row_N), np.int32), row_N)
        for store in (pixels, thumbnail_MD)
    )
    return Table(images_N, hash_M[row_N], thumbnails_N, columns, size_N2)
