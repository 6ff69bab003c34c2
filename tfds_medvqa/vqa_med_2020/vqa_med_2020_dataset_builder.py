"""Builder of VQA-Med 2020: the challenge's three splits."""

from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.imageclef import (
    TRAINING_2020,
    VALIDATION_2020,
    abnormality_examples,
    abnormality_tests,
)
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder

SOURCE = "vqa_med_2020"
TEST = (
    "VQAMed2020-Task1-VQAnswering-Test-Questions.txt",
    "VQAMed2020-Task1-VQAnswering-Test-ReferenceAnswers.txt",
    "Task1-2020-VQAnswering-Test-Images",
)
"""Questions, references, images."""


class Builder(ManualBuilder):
    """Reads the question files and image folders of task 1."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin(
        "VQA-Med 2020", "https://github.com/abachaa/VQA-Med-2020", "ImageCLEF 2020's terms of use"
    )
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="challenge", description="Train, validation and test.")
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the challenge's splits."""
        return {
            "train": abnormality_examples(files, [TRAINING_2020], SOURCE),
            "validation": abnormality_examples(files, [VALIDATION_2020], SOURCE),
            "test": abnormality_tests(files, *TEST, SOURCE),
        }
