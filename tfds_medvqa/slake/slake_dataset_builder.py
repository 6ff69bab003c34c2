"""Builder of SLAKE: English questions, or questions in both languages."""

import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import Row
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import json_rows

FILES = {
    "train": ("train.json",),
    "validation": ("validate.json", "validation.json"),
    "test": ("test.json",),
}
"""Split to the names of its file in the releases."""
LANGUAGES = {"english": ("en",), "bilingual": ("en", "zh")}


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
        rows = {split: json_rows(files.file(*names)) for split, names in FILES.items()}
        folder = files.folder("imgs")

        def make(row: Row) -> dict[str, Any] | None:
            is_wanted = row.text("q_lang") in languages
            return make_example(row, files, folder) if is_wanted else None

        return {split: list(files.each(part, make)) for split, part in rows.items()}


def make_example(row: Row, files: SourceFolder, folder: pathlib.Path) -> dict[str, Any]:
    """Makes an example of one entry of a JSON file.

    Raises:
      RowError: if the entry lacks a field, or its image is absent.
    """
    name = row.path("img_name")
    return question_example(
        image=files.image(row, name, folder),
        image_id=name,
        example_id=f"slake/{row.identifier('qid')}",
        question=row.text("question"),
        answer=row.answer("answer"),
        question_type=row.word("content_type"),
        answer_type=row.word("answer_type"),
        source="slake",
        modality=row.word("modality"),
        anatomy=row.word("location").replace("_", " "),
        language=row.word("q_lang"),
    )
