"""Builder of Kvasir-VQA: all questions, or those with one answer.

It reads SimulaMet-HOST/Kvasir-VQA on Hugging Face, whose Parquet files hold questions and images,
or the folder that the dataset's own page makes of it: metadata.csv beside images/. Both layouts are
those of that page, its column `source` that of a published part of the table. The files themselves
were not at hand.
"""

import hashlib
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common import answers
from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.parquet_rows import image_bytes, parquet_rows
from tfds_medvqa.common.rows import ENGLISH, Row, RowError
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.source_images import SourceImage
from tfds_medvqa.common.tables import table_rows

TEXTS = ("source", "question", "answer", "img_id")
TABLE = "metadata.csv"
TEST_SHARE = 0.2
SEPARATOR = ";"
"""What separates several answers to a question."""

Rows = Callable[[], Iterator[Row]]
FindImage = Callable[[Row], SourceImage]


class Builder(ManualBuilder):
    """Reads one table, whose images are within it or beside it."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin(
        "Kvasir-VQA", "https://huggingface.co/datasets/SimulaMet-HOST/Kvasir-VQA", "CC BY-NC 4.0"
    )
    METADATA = {"split": {"by": "image", "shares": {"test": TEST_SHARE}}}
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="all", description="All questions; several answers to one are one text."
        ),
        tfds.core.BuilderConfig(name="single", description="The questions with one answer."),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns train and test, four fifths and one fifth of the images."""
        rows, find_image = find_table(files)
        same = find_duplicates(rows(), find_image)
        return {
            split: self._examples(files, split, rows, find_image, same)
            for split in ("train", "test")
        }

    def _examples(
        self,
        files: SourceFolder,
        split: str,
        rows: Rows,
        find_image: FindImage,
        same: Mapping[str, str],
    ) -> Iterator[dict[str, Any]]:
        def make(numbered: tuple[int, Row]) -> dict[str, Any] | None:
            number, row = numbered
            parts = read_answers(row)
            if len(parts) > 1 and self.builder_config.name == "single":
                return None
            question, name = row.text("question"), row.text("img_id")
            return question_example(
                image=find_image(row),
                image_id=same.get(name, name),
                example_id=f"kvasir_vqa/{number}",
                question=question,
                answer=f"{SEPARATOR} ".join(parts),
                question_type=question.split(maxsplit=1)[0].lower(),
                source="kvasir_vqa",
                client=row.word("source"),
                modality="endoscopy",
                anatomy="gastrointestinal tract",
                language=ENGLISH,
            )

        wanted = (each for each in enumerate(rows()) if split_of(each[1], same) == split)
        return files.each(wanted, make)


def find_table(files: SourceFolder) -> tuple[Rows, FindImage]:
    """Finds the Parquet files, or else the table with its folder of images.

    Returns:
      A function that reads the rows anew, and one that finds a row's image.

    Raises:
      BuildError: if neither is there, or a Parquet file is absent between others.
    """
    parent = files.folder_of("data")
    paths = files.listed(parent / "data", "*.parquet") if parent else []
    if not paths and files.folder_of(TABLE) is not None:
        table, folder = files.file(TABLE), files.folder("images")
        return (
            lambda: table_rows(table, TEXTS),
            lambda row: files.image(row, f"{row.path('img_id')}.jpg", folder),
        )
    _check_parts(files, paths)
    return (
        lambda: parquet_rows(paths, ("image", *TEXTS)),
        lambda row: SourceImage(image_bytes(row), row.where),
    )


def _check_parts(files: SourceFolder, paths: list[pathlib.Path]) -> None:
    """Checks the files' numbers: from 0, and up to their count where the names say it."""
    if not paths:
        raise files.missing("data/00000.parquet")
    found = [re.search(r"(\d+)(?:-of-(\d+))?[^/\d]*$", path.stem) for path in paths]
    numbers = {int(each[1]) for each in found if each}
    total = max([len(paths), *(int(each[2]) for each in found if each and each[2])])
    for number in range(total):
        if numbers and number not in numbers:
            raise files.missing(f"data/{number:05d}.parquet")


def find_duplicates(rows: Iterable[Row], find_image: FindImage) -> dict[str, str]:
    """Finds images that occur under several identifiers.

    Args:
      rows: All rows; one that cannot be used is passed over.
      find_image: Function that finds a row's image.

    Returns:
      Identifier of an image to the first identifier, by name, of one with the same content.
    """
    digests: dict[str, str] = {}
    first: dict[str, str] = {}
    for row in rows:
        try:
            name = row.text("img_id")
            if name in digests:
                continue
            content = find_image(row).content
            content = content.read_bytes() if isinstance(content, pathlib.Path) else content
        except (RowError, OSError):  # told when its example is made
            continue
        digests[name] = hashlib.sha256(content).hexdigest()
        first[digests[name]] = min(name, first.get(digests[name], name))
    return {name: first[digest] for name, digest in digests.items()}


def split_of(row: Row, same: Mapping[str, str]) -> str:
    """Returns the split of a row's image by a hash of its identifier; "train" without one."""
    try:
        name = row.text("img_id")
    except RowError:
        return "train"
    is_test = Draws(same.get(name, name)).fraction("split") >= 1 - TEST_SHARE
    return "test" if is_test else "train"


def read_answers(row: Row) -> list[str]:
    """Returns the distinct answers of a row, normalised and sorted: the release's order varies.

    Raises:
      RowError: if there is none.
    """
    parts = (answers.normalise(part) for part in row.answer("answer").split(SEPARATOR))
    return sorted({part for part in parts if part})
