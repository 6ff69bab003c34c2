"""Builder of PathVQA, from the Parquet tables that are released on Hugging Face."""

import hashlib
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.parquet_rows import image_bytes, parquet_rows
from tfds_medvqa.common.rows import ENGLISH, Row
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.source_images import SourceImage

SPLITS = ("train", "validation", "test")
COLUMNS = ("image", "question", "answer")


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
        paths = {split: files.listed(folder, f"{split}-*.parquet") for split in SPLITS}
        for split, found in paths.items():
            if not found:
                raise files.missing(f"data/{split}-*.parquet")
            _check_parts(files, split, found)
        return {split: _examples(files, split, found) for split, found in paths.items()}


def _check_parts(files: SourceFolder, split: str, paths: Sequence[pathlib.Path]) -> None:
    """Checks that all parts exist; a name has its number and their count, as in 00000-of-00007."""
    names = [path.stem.split("-") for path in paths]
    total = int(names[0][3]) if len(names[0]) >= 4 and names[0][3].isdigit() else len(paths)
    for number in range(total):
        if not any(name[1].isdigit() and int(name[1]) == number for name in names):
            raise files.missing(f"data/{split}-{number:05d}-of-{total:05d}-*.parquet")


def _examples(
    files: SourceFolder, split: str, paths: Iterable[pathlib.Path]
) -> Iterator[dict[str, Any]]:
    def make(numbered: tuple[int, Row]) -> dict[str, Any]:
        number, row = numbered
        return make_example(row, f"path_vqa/{split}/{number}")

    return files.each(enumerate(parquet_rows(paths, COLUMNS, f" of split {split}")), make)


def make_example(row: Row, example_id: str) -> dict[str, Any]:
    """Makes an example of one row, which holds its image.

    Raises:
      RowError: if the row lacks a field or the image.
    """
    content, question = image_bytes(row), row.text("question")
    return question_example(
        image=SourceImage(content, row.where),
        image_id=hashlib.sha256(content).hexdigest()[:16],
        example_id=example_id,
        question=question,
        answer=row.answer("answer"),
        question_type=question.split(maxsplit=1)[0].lower(),
        source="path_vqa",
        modality="histopathology",
        language=ENGLISH,
    )
