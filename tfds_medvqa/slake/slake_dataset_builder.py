"""Builder of SLAKE: English questions, or questions in both languages."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.images import read_image
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder, read_json

FILES = {"train": "train.json", "validation": "validate.json", "test": "test.json"}
COLUMNS = (
    *("qid", "img_name", "question", "answer", "q_lang"),
    *("answer_type", "content_type", "modality", "location"),
)
LANGUAGES = {"english": ("en",), "bilingual": ("en", "zh")}

Row = Mapping[str, Any]


class Builder(ManualBuilder):
    """Reads SLAKE's three JSON files and its image folders."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin("SLAKE", "https://www.med-vqa.com/slake/", "CC BY 4.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="english", description="Questions in English."),
        tfds.core.BuilderConfig(name="bilingual", description="Questions in English and Chinese."),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the released splits, which share no image."""
        languages = LANGUAGES[self.builder_config.name]
        rows = {
            split: [row for row in read_rows(files.file(name)) if row["q_lang"] in languages]
            for split, name in FILES.items()
        }
        folder = files.folder("imgs")
        for row in (row for part in rows.values() for row in part):
            if not (folder / row["img_name"]).is_file():
                raise files.missing(f"imgs/{row['img_name']}")
        return {split: _examples(part, folder) for split, part in rows.items()}


def read_rows(path: pathlib.Path) -> list[Row]:
    """Reads the questions of a split.

    Raises:
      BuildError: if a question lacks a field.
    """
    rows = read_json(path)
    for number, row in enumerate(rows):
        absent = [column for column in COLUMNS if column not in row]
        if absent:
            raise BuildError(f"{path}: entry {number} has no {absent[0]!r}")
    return rows


def _examples(rows: Iterable[Row], folder: pathlib.Path) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield question_example(
            image=read_image(folder / row["img_name"]),
            image_id=row["img_name"],
            example_id=f"slake/{row['qid']}",
            question=row["question"],
            answer=row["answer"],
            question_type=row["content_type"].strip().lower(),
            answer_type=row["answer_type"].strip().lower(),
            source="slake",
            modality=row["modality"].strip().lower(),
            anatomy=row["location"].strip().lower().replace("_", " "),
        )
