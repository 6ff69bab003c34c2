"""Builder of VQA-RAD: the released split by question, or a split by image."""

import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.images import read_image
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder, read_json

QUESTIONS = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"
COLUMNS = (
    *("qid", "phrase_type", "image_name", "image_organ"),
    *("question", "question_type", "answer", "answer_type"),
)
ORGANS = {"HEAD": "head", "CHEST": "chest", "ABD": "abdomen"}
QUESTION_TYPES = {
    "ABN": "abnormality",
    "ATRIB": "attribute",
    "ATTRIB": "attribute",
    "COLOR": "color",
    "COUNT": "counting",
    "MODALITY": "modality",
    "ORGAN": "organ",
    "OTHER": "other",
    "PLANE": "plane",
    "POS": "position",
    "PRES": "presence",
    "PRSE": "presence",
    "SIZE": "size",
}
"""Maps the released codes, two of them misspelt once each, to words."""

Row = Mapping[str, Any]


class Builder(ManualBuilder):
    """Reads VQA-RAD's JSON file and image folder."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin("VQA-RAD", "https://osf.io/89kps", "CC0 1.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="released",
            description="The released split: by question, so that test images occur in training.",
        ),
        tfds.core.BuilderConfig(
            name="by_image",
            description="A fifth of the images, with all their questions, for testing.",
        ),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns train and test; every image named must be there."""
        rows = read_rows(files.file(QUESTIONS))
        folder = files.folder(IMAGES)
        absent = sorted({row["image_name"] for row in rows} - {path.name for path in _list(folder)})
        if absent:
            raise files.missing(f"{IMAGES}/{absent[0]}")
        is_test = SPLITS[self.builder_config.name]
        return {
            "train": (make_example(row, folder) for row in rows if not is_test(row)),
            "test": (make_example(row, folder) for row in rows if is_test(row)),
        }


def read_rows(path: pathlib.Path) -> list[Row]:
    """Reads the questions.

    Raises:
      BuildError: if a question lacks a field, or has an unknown organ or question type.
    """
    rows = read_json(path)
    for number, row in enumerate(rows):
        for column in COLUMNS:
            if column not in row:
                raise BuildError(f"{path}: entry {number} has no {column!r}")
        if row["image_organ"] not in ORGANS:
            raise BuildError(
                f"{path}: entry {number} has image_organ {row['image_organ']!r}, expected one of "
                f"{', '.join(ORGANS)}"
            )
        question_types(row["question_type"], f"{path}: entry {number}")
    return rows


def question_types(codes: str, where: str = QUESTIONS) -> str:
    """Spells out question types; several types of a question keep their order.

    Args:
      codes: Codes such as "PRES" or "POS, PRES".
      where: Location in the file, for the error message.

    Returns:
      Words such as "presence" or "position, presence".

    Raises:
      BuildError: for an unknown code.
    """
    known = []
    for code in codes.split(","):
        if code.strip().upper() not in QUESTION_TYPES:
            raise BuildError(
                f"{where} has question_type {codes!r}, expected {', '.join(QUESTION_TYPES)}"
            )
        known.append(QUESTION_TYPES[code.strip().upper()])
    return ", ".join(known)


def make_example(row: Row, folder: pathlib.Path) -> dict[str, Any]:
    """Makes an example of one entry of the JSON file."""
    return question_example(
        image=read_image(folder / row["image_name"]),
        image_id=row["image_name"],
        example_id=f"vqa_rad/{row['qid']}",
        question=row["question"],
        answer=row["answer"],
        question_type=question_types(row["question_type"]),
        answer_type=row["answer_type"].strip().lower(),
        source="vqa_rad",
        anatomy=ORGANS[row["image_organ"]],
    )


def _in_released_test(row: Row) -> bool:
    return row["phrase_type"].startswith("test")


def _in_test_by_image(row: Row) -> bool:
    return Draws(row["image_name"]).fraction("split") >= 0.8


SPLITS: Mapping[str, Callable[[Row], bool]] = {
    "released": _in_released_test,
    "by_image": _in_test_by_image,
}
"""Maps a config to a function that returns True for a test question."""


def _list(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return folder.iterdir()
