"""Builder of PathVQA, from the Parquet tables that are released on Hugging Face."""

import hashlib
import io
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow
import tensorflow_datasets as tfds
from pyarrow import parquet

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.images import check_image
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder

SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "question", "answer")
ROWS_AT_ONCE = 64


class Builder(ManualBuilder):
    """Streams Parquet files; the original release, in Python pickles, is not read."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin("PathVQA", "https://huggingface.co/datasets/flaviagiammarino/path-vqa", "MIT")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="released", description="Train, validation and test.")
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the released splits."""
        folder = files.folder("data")
        paths = {split: sorted(folder.glob(f"{split}-*.parquet")) for split in SPLITS}
        for split, found in paths.items():
            if not found:
                raise files.missing(f"data/{split}-*.parquet")
            _check_parts(files, split, found)
        return {split: _examples(split, found) for split, found in paths.items()}


def _check_parts(files: SourceFolder, split: str, paths: Sequence[pathlib.Path]) -> None:
    """Checks that all parts exist; a name has its number and their count, as in 00000-of-00007."""
    names = [path.stem.split("-") for path in paths]
    total = int(names[0][3]) if len(names[0]) >= 4 and names[0][3].isdigit() else len(paths)
    for number in range(total):
        if not any(name[1].isdigit() and int(name[1]) == number for name in names):
            raise files.missing(f"data/{split}-{number:05d}-of-{total:05d}-*.parquet")


def _examples(split: str, paths: Iterable[pathlib.Path]) -> Iterator[dict[str, Any]]:
    rows = ((path, row) for path in paths for row in _read(path))
    for number, (path, row) in enumerate(rows):
        content = row["image"]["bytes"]
        yield question_example(
            image=check_image(io.BytesIO(content), f"{path}: row {number} of split {split}"),
            image_id=hashlib.sha256(content).hexdigest()[:16],
            example_id=f"path_vqa/{split}/{number}",
            question=row["question"],
            answer=row["answer"],
            question_type=row["question"].split(maxsplit=1)[0].lower(),
            source="path_vqa",
            modality="histopathology",
        )


def _read(path: pathlib.Path) -> Iterator[Mapping[str, Any]]:
    try:
        table = parquet.ParquetFile(path)
        absent = [name for name in COLUMNS if name not in table.schema_arrow.names]
        if absent:
            raise BuildError(f"{path}: column {absent[0]!r} is missing")
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=list(COLUMNS)):
            yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise BuildError(f"{path}: cannot be read as a Parquet file ({error})") from error
