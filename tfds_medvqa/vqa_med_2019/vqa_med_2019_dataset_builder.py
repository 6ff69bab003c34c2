"""Builder of VQA-Med 2019, with or without the challenge's test set."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.imageclef import (
    Question,
    find_images,
    first_reference,
    make_examples,
    read_questions,
)
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder, read_piped

CATEGORIES = ("modality", "plane", "organ", "abnormality")
TEST_QUESTIONS = "VQAMed2019_Test_Questions_w_Ref_Answers.txt"
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
    questions = [
        question
        for number, category in enumerate(CATEGORIES, start=1)
        for question in read_questions(
            files.file(f"QAPairsByCategory/C{number}_{category.capitalize()}_{split}.txt"), category
        )
    ]
    return _examples(questions, files, f"{split}_images")


def _test(files: SourceFolder) -> Iterator[dict[str, Any]]:
    questions = [
        Question(image, text, first_reference(answer), category)
        for image, category, text, answer in read_piped(files.file(TEST_QUESTIONS), 4)
    ]
    return _examples(questions, files, TEST_IMAGES)


def _examples(
    questions: list[Question], files: SourceFolder, folder: str
) -> Iterator[dict[str, Any]]:
    """Makes examples; an image's organ is the answer to its question about the organ."""
    images = find_images(files, folder, questions)
    organs = {each.image: each.answer for each in questions if each.question_type == "organ"}
    return make_examples(questions, images, SOURCE, organs)
