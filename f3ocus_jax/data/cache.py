"""Cache of a built dataset: every image decoded and resized once, memory-mapped afterwards."""

import dataclasses
import hashlib
import json
import logging
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
from f3ocus_jax.data.table import DATASET_COLUMNS, TEXT_COLUMNS, Column, Table
from f3ocus_jax.errors import DamagedError, DataError
from tfds_medvqa.common import integrity, owner_lock, sealed_build
from tfds_medvqa.common.errors import ImageSizeError
from tfds_medvqa.common.image_limits import DEFAULT_DECODING, DecodeOptions

STORED_COLUMNS = [name for name in TEXT_COLUMNS if name not in DATASET_COLUMNS]
"""Columns of the cache, one file each; the others are the same for a whole dataset."""

FORMAT = 5
"""Version of the cache; increased whenever the written files change, so that older caches are
rebuilt."""

logger = logging.getLogger(__name__)


def load(
    builder: tfds.core.DatasetBuilder,
    dataset: str,
    split: str,
    canvas: Canvas,
    decoding: DecodeOptions = DEFAULT_DECODING,
) -> Table:
    """Reads one split, from its cache if there is one.

    The built dataset's folder holds one cache for every split and canvas. It is written to a
    temporary folder that gets a manifest and is renamed at the end, so that an interrupted cache is
    never used. A damaged cache, or one of another build, is made again. Of several processes one
    writes it.

    Args:
      builder: Builder of a dataset that is built.
      dataset: Name of the dataset with its config, for the column of this name and for messages.
      split: Name of the split, such as "train".
      canvas: Canvas that the images are fitted to.
      decoding: Limit of pixels of an image, and its page.

    Returns:
      The examples; their images stay in a file and are memory-mapped.

    Raises:
      DamagedError: if the build, which is read where there is no whole cache, is damaged.
      DataError: for an example that cannot be decoded.
      OSError: if the cache cannot be written.
    """
    root = pathlib.Path(builder.data_dir) / f"arrays_{_name(canvas)}"
    folder, identity = root / split, _identity(builder, split, canvas, decoding)
    if _damage(folder, identity):
        root.mkdir(exist_ok=True)
        what = f"it decodes the images of {dataset}, split {split}"
        with owner_lock.waited_for(root / f"{split}.lock", what):
            if damage := _damage(folder, identity):
                if folder.exists():
                    logger.warning("%s; the cache of %s is made again", damage, dataset)
                _replace(builder, dataset, split, canvas, decoding, folder, identity)
    findings = ", ".join((builder.info.metadata or {}).get("findings", ()))
    return _read(folder, dataset, findings, canvas)


def _replace(
    builder: tfds.core.DatasetBuilder,
    dataset: str,
    split: str,
    canvas: Canvas,
    decoding: DecodeOptions,
    folder: pathlib.Path,
    identity: Mapping[str, Any],
) -> None:
    """Writes a cache, and removes what killed processes left of it; needs its lock."""
    sealed_build.check(pathlib.Path(builder.data_dir), shards=True)
    for left in folder.parent.glob(f"incomplete.{split}.*"):
        shutil.rmtree(left, ignore_errors=True)
    unfinished = folder.with_name(f"incomplete.{split}.{os.getpid()}")
    unfinished.mkdir()
    _write(builder, dataset, split, canvas, decoding, unfinished)
    (unfinished / "identity.json").write_text(json.dumps(identity), encoding="utf-8")
    integrity.write_manifest(unfinished)
    shutil.rmtree(folder, ignore_errors=True)
    unfinished.rename(folder)


def _name(canvas: Canvas) -> str:
    padded = f"_padded_{canvas.shortest_edge}_{canvas.multiple}" if canvas.keeps_aspect else ""
    return f"{canvas.side}px{padded}"


def _identity(
    builder: tfds.core.DatasetBuilder, split: str, canvas: Canvas, decoding: DecodeOptions
) -> dict[str, Any]:
    """Returns the examples, the canvas and the page of images that a cache is made from."""
    return {
        "format": FORMAT,
        "split": split,
        "frame": dataclasses.asdict(canvas),
        "image_page": decoding.page,
        "build": sealed_build.shards_of(pathlib.Path(builder.data_dir)),
    }


def _damage(folder: pathlib.Path, identity: Mapping[str, Any]) -> str | None:
    """Returns why a cache cannot be used, None for a whole one."""
    try:
        integrity.check_manifest(folder)
    except DamagedError as error:
        return str(error)
    if json.loads((folder / "identity.json").read_text(encoding="utf-8")) != identity:
        return f"{folder} is of another build or version"
    return None


def _write(
    builder: tfds.core.DatasetBuilder,
    dataset: str,
    split: str,
    canvas: Canvas,
    decoding: DecodeOptions,
    folder: pathlib.Path,
) -> None:
    """Streams all examples; an image that several examples share is decoded and written once."""
    rows: dict[bytes, int] = {}
    files: list[bytes] = []
    hashes: list[int] = []
    sizes: list[tuple[int, int]] = []
    texts: dict[str, list[str]] = {name: [] for name in STORED_COLUMNS}
    with (
        (folder / "pixels.bin").open("wb") as pixels,
        (folder / "thumbnails.bin").open("wb") as thumbnails,
    ):
        for record in _decoded(builder, dataset, split, canvas, decoding):
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
        _write_column(folder, name, Column.from_texts(column))


def _decoded(
    builder: tfds.core.DatasetBuilder,
    dataset: str,
    split: str,
    canvas: Canvas,
    decoding: DecodeOptions,
) -> Iterator[dict[str, Any]]:
    """Yields every example, read by several threads ahead of time.

    The first thread that reads an image decodes it, so that its pixels may come with a later
    example than the first one.
    """
    source = builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    seen: set[bytes] = set()
    lock = threading.Lock()

    def read(index: int) -> dict[str, Any]:
        try:
            record = source[int(index)]
            file = hashlib.blake2b(record["image"], digest_size=16).digest()
            with lock:
                is_new = file not in seen
                seen.add(file)
            pixels = _pixels(record, canvas, decoding) if is_new else {}
            return _texts(record) | {"file": file} | pixels
        except ImageSizeError as error:
            raise DataError(f"{dataset}, split {split}, example {index}: {error}") from error
        except (OSError, SyntaxError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{dataset}, split {split}, example {index}: cannot be read ({error}); "
                "delete the built dataset and build it again"
            ) from error

    try:
        yield from grain.MapDataset.range(len(source)).map(read).to_iter_dataset()
    except DataError as error:  # to which Grain adds lines about its traceback
        raise DataError(str(error).partition("\n")[0]) from error


def _texts(record: Mapping[str, Any]) -> dict[str, str]:
    texts = {name: record[name].decode() for name in STORED_COLUMNS if name != "label"}
    return texts | {"label": " ".join(map(str, record["label"]))}


def _pixels(record: Mapping[str, Any], canvas: Canvas, decoding: DecodeOptions) -> dict[str, Any]:
    image = images.decode_rgb(record["image"], decoding)
    canvas_HWC, size = images.fit_to_canvas(image, canvas)
    return {
        "hash": images.pixel_hash(image),
        "pixels": canvas_HWC.tobytes(),
        "size": size,
        "thumbnail": images.thumbnail(image).tobytes(),
    }


def _write_column(folder: pathlib.Path, name: str, column: Column) -> None:
    text = json.dumps(column.values, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    np.save(folder / f"{name}.npy", column.code_N)


def _read(folder: pathlib.Path, dataset: str, findings: str, canvas: Canvas) -> Table:
    row_N, hash_M = np.load(folder / "row.npy"), np.load(folder / "pixel_hash.npy")
    shape = (len(hash_M), canvas.side, canvas.side, 3)
    pixels = np.memmap(folder / "pixels.bin", np.uint8, "r", shape=shape)
    size_N2 = np.load(folder / "image_size.npy")[row_N] if canvas.keeps_aspect else None
    area = images.THUMBNAIL_SIDE**2
    thumbnail_MD = np.memmap(folder / "thumbnails.bin", np.uint8, "r", shape=(len(hash_M), area))
    columns = {
        name: Column(
            tuple(json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))),
            np.load(folder / f"{name}.npy"),
        )
        for name in STORED_COLUMNS
    }
    for name, value in zip(DATASET_COLUMNS, (dataset, findings), strict=True):
        columns[name] = Column((value,), np.zeros(len(row_N), np.int32))
    images_N, thumbnails_N = (
        StoredImages((store,), np.zeros(len(row_N), np.int32), row_N)
        for store in (pixels, thumbnail_MD)
    )
    return Table(images_N, hash_M[row_N], thumbnails_N, columns, size_N2)
