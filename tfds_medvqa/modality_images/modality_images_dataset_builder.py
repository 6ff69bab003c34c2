"""Builder of six hospitals of one modality each, and of other images of their sources."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import ENGLISH, UNKNOWN, Reason, Row, shown
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import table_rows
from tfds_medvqa.modality_images import questions
from tfds_medvqa.modality_images.hospitals import HELD_OUT, HOSPITALS, UPSTREAM, Hospital

LABELS = "labels.csv"
COLUMNS = ("image", "label", "split", "patient")
SPLITS = {"train": "train", "val": "validation", "test": "test"}
"""Names of splits in labels.csv, and the splits that they mean."""

TEST_SHARE = 0.1
"""Share of the upstream patients, or images, on which a pre-trained model is tested."""


@dataclasses.dataclass(eq=False)
class ModalityConfig(tfds.core.BuilderConfig):
    """One hospital, or the other images of its source.

    Attributes:
      hospital: A key of `HOSPITALS`.
      is_upstream: True for the images to pre-train on.
    """

    hospital: str = ""
    is_upstream: bool = False

    @property
    def part(self) -> str:
        """Folder above that of the hospital."""
        return UPSTREAM if self.is_upstream else HELD_OUT


def _configs() -> list[ModalityConfig]:
    """Returns the hospitals, then the images to pre-train on."""
    upstream = [name for name, hospital in HOSPITALS.items() if hospital.has_upstream]
    return [
        *(
            ModalityConfig(name=name, description="Splits of labels.csv.", hospital=name)
            for name in HOSPITALS
        ),
        *(
            ModalityConfig(
                name=f"{UPSTREAM}_{name}",
                description="Other images of the same source.",
                hospital=name,
                is_upstream=True,
            )
            for name in upstream
        ),
    ]


class Builder(ManualBuilder):
    """Turns labels of images into question-answer pairs; needs no TensorFlow."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin(
        "Images of six modalities",
        "the pages that tfds_medvqa/modality_images/README.md lists",
        "CC BY 4.0 and others",
    )
    BUILDER_CONFIGS = _configs()

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the examples of every split; every image named must be there."""
        config = self.builder_config
        hospital = HOSPITALS[config.hospital]
        table = files.file(f"{config.part}/{hospital.folder}/{LABELS}")

        def make(row: Row) -> tuple[str, dict[str, Any]]:
            example = make_example(row, hospital, files.image(row, row.path("image"), table.parent))
            return _upstream_split(example) if config.is_upstream else _split(row), example

        splits: dict[str, list[dict[str, Any]]] = {}
        for split, example in files.each(table_rows(table, COLUMNS), make):
            splits.setdefault(split, []).append(example)
        return splits


def make_example(row: Row, hospital: Hospital, image: Any) -> dict[str, Any]:
    """Makes an example of one row of labels.csv.

    Args:
      row: The row.
      hospital: Hospital of the image.
      image: The image.

    Raises:
      RowError: if a text is absent, or the label is none of the hospital's.
    """
    label = row.text("label")
    if label not in hospital.labels:
        known = ", ".join(hospital.labels)
        raise row.error(Reason.UNKNOWN_VALUE, f"has label {shown(label)}, expected one of {known}")
    image_id = f"{hospital.name}/{row.path('image').removeprefix('images/')}"
    triplet = questions.ask(image_id, hospital, label)
    return question_example(
        image=image,
        image_id=image_id,
        example_id=image_id,
        question=triplet.question,
        answer=triplet.answer,
        question_type=triplet.question_type,
        client=hospital.name,
        modality=hospital.source.modality,
        anatomy=triplet.anatomy,
        source=hospital.source.name,
        patient=row.word("patient") if row.has("patient") else UNKNOWN,
        language=ENGLISH,
        label=(list(hospital.labels).index(label),),
    )


def _split(row: Row) -> str:
    name = row.text("split")
    if name not in SPLITS:
        known = ", ".join(SPLITS)
        raise row.error(Reason.UNKNOWN_VALUE, f"has split {shown(name)}, expected one of {known}")
    return SPLITS[name]


def _upstream_split(example: Mapping[str, Any]) -> str:
    """Returns the split of an upstream image: by patient where they are known."""
    patient = example["patient"]
    owner = example["image_id"] if patient == UNKNOWN else patient
    return "test" if Draws(owner).fraction("split") < TEST_SHARE else "train"
