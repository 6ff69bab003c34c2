"""Builder of VQA-Med 2019, with or without the challenge's test set."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.imageclef import (
    ImageFolder,
    Question,
    first_reference,
    make_examples,
    make_question,
    read_questions,
)
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import Row
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import piped_rows

CATEGORIES = ("modality", "plane", "organ", "abnormality")
TEST_QUESTIONS = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"
TEST_COLUMNS = ("image", "category", "question", "answer")
TEST_IMAGES = "VQAMed2019_Test_Images"
SOURCE = "vqa_med_2019"


class Builder(ManualBuilder):
    """Reads the question files by category, and the image folders."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin("VQA-Med 2019", "https://zenodo.org/records/10499039", "CC BY 4.0")
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(
            name="challenge", description="Train, validation and test as in the challenge."
        ),
        tfds.core.BuilderConfig(
            name="development",
            description="The challenge's validation set as test, if its test set is not available.",
        ),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns train and test, and validation for the challenge."""
        train, validation = _released(files, "train"), _released(files, "val")
        if self.builder_config.name == "development":
            return {"train": train, "test": validation}
        return {"train": train, "validation": validation, "test": _test(files)}


def _released(files: SourceFolder, split: str) -> Iterator[dict[str, Any]]:
    images = ImageFolder(files, f"{split}_images")
    return _examples(
        [
            question
            for number, category in enumerate(CATEGORIES, start=1)
            for question in read_questions(
                files,
                f"QAPairsByCategory/C{number}_{category.capitalize()}_{split}.txt",
                images,
                category,
            )
        ]
    )


def _test(files: SourceFolder) -> Iterator[dict[str, Any]]:
    path, images = files.file(TEST_QUESTIONS), ImageFolder(files, TEST_IMAGES)

    def make(row: Row) -> Question:
        answer = first_reference(row.answer("answer"))
        return make_question(row, images, answer, row.text("category"))

    return _examples(list(files.each(piped_rows(path, TEST_COLUMNS), make)))


def _examples(questions: list[Question]) -> Iterator[dict[str, Any]]:
    """Makes examples; an image's organ is the answer to its question about the organ."""
    organs = {each.name: each.answer for each in questions if each.question_type == "organ"}
    return make_examples(questions, SOURCE, organs)
