"""Builder of VQA-RAD: the released split by question, or a split by image."""

import pathlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import ENGLISH, Reason, Row, RowError, shown
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import json_rows

QUESTIONS = "VQA_RAD Dataset Public.json"
IMAGES = "VQA_RAD Image Folder"
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
        rows = json_rows(files.file(QUESTIONS))
        folder = files.folder(IMAGES)
        split_of = SPLITS[self.builder_config.name]

        def make(row: Row) -> tuple[str, dict[str, Any]]:
            return split_of(row), make_example(row, files, folder)

        splits: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
        for split, example in files.each(rows, make):
            splits[split].append(example)
        return splits


def question_types(codes: str, where: str = QUESTIONS) -> str:
    """Spells out question types; several types of a question keep their order.

    Args:
      codes: Codes such as "PRES" or "POS, PRES".
      where: Location in the file, for the error message.

    Returns:
      Words such as "presence" or "position, presence".

    Raises:
      RowError: for an unknown code.
    """
    known = []
    for code in codes.split(","):
        if code.strip().upper() not in QUESTION_TYPES:
            raise RowError(
                Reason.UNKNOWN_VALUE,
                f"{where} has question_type {shown(codes)}, expected {', '.join(QUESTION_TYPES)}",
            )
        known.append(QUESTION_TYPES[code.strip().upper()])
    return ", ".join(known)


def make_example(row: Row, files: SourceFolder, folder: pathlib.Path) -> dict[str, Any]:
    """Makes an example of one entry of the JSON file.

    Raises:
      RowError: if the entry lacks a field, its image is absent, or its organ or question type is
        unknown.
    """
    organ, name = row.text("image_organ"), row.path("image_name")
    if organ not in ORGANS:
        raise row.error(
            Reason.UNKNOWN_VALUE,
            f"has image_organ {shown(organ)}, expected one of {', '.join(ORGANS)}",
        )
    return question_example(
        image=files.image(row, name, folder),
        image_id=name,
        example_id=f"vqa_rad/{row.identifier('qid')}",
        question=row.text("question"),
        answer=row.answer("answer"),
        question_type=question_types(row.text("question_type"), row.where),
        answer_type=row.word("answer_type"),
        source="vqa_rad",
        anatomy=ORGANS[organ],
        language=ENGLISH,
    )


def _released_split(row: Row) -> str:
    return "test" if row.text("phrase_type").startswith("test") else "train"


def _split_by_image(row: Row) -> str:
    return "test" if Draws(row.path("image_name")).fraction("split") >= 0.8 else "train"


SPLITS: Mapping[str, Callable[[Row], str]] = {
    "released": _released_split,
    "by_image": _split_by_image,
}
"""Maps a config to a function that returns the split of a question."""
