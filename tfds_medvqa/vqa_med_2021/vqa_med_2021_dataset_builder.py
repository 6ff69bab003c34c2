"""Builder of VQA-Med 2021: the challenge's three splits; training data are those of 2020."""

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

SOURCE = "vqa_med_2021"
VALIDATION = (
    "VQA-Med-2021-VQAnswering-Task1-New-ValidationSet.txt",
    "ImageCLEF-2021-VQA-Med-New-Validation-Images",
)
TEST = (
    "Task1-VQA-2021-TestSet-Questions.txt",
    "Task1-VQA-2021-TestSet-ReferenceAnswers.txt",
    "VQA-500-Images",
)
"""Questions, references, images."""


class Builder(ManualBuilder):
    """Reads the question files and image folders of task 1, and those of 2020."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin(
        "VQA-Med 2021", "https://github.com/abachaa/VQA-Med-2021", "ImageCLEF 2021's terms of use"
    )
    BUILDER_CONFIGS = [
        tfds.core.BuilderConfig(name="challenge", description="Train, validation and test."),
        tfds.core.BuilderConfig(
            name="new_images",
            description="The validation set to train on and the test set, without 2020's images.",
        ),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the challenge's splits, or those of them that are new in 2021."""
        validation = abnormality_examples(files, [VALIDATION], SOURCE)
        test = abnormality_tests(files, *TEST, SOURCE)
        if self.builder_config.name == "new_images":
            return {"train": validation, "test": test}
        train = abnormality_examples(files, [TRAINING_2020, VALIDATION_2020], SOURCE)
        return {"train": train, "validation": validation, "test": test}
