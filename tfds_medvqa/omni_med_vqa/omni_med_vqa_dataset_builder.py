"""Builder of the open-access part of OmniMedVQA: one modality, or all."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import ENGLISH, Reason, Row, RowError, shown
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import json_rows

QUESTIONS = "QA_information/Open-access"
TRAIN_SHARE = 0.8
MODALITIES = {
    "ct": "computed tomography",
    "dermoscopy": "dermoscopy",
    "fundus": "fundus photography",
    "microscopy": "microscopy",
    "mr": "magnetic resonance imaging",
    "oct": "optical coherence tomography",
    "ultrasound": "ultrasound",
    "x-ray": "x-ray",
}
"""Maps the start of a released modality, in lower case, to its name here."""


@dataclasses.dataclass(eq=False)
class OmniConfig(tfds.core.BuilderConfig):
    """One modality, or all.

    Attributes:
      modality: Value of `MODALITIES`; "" for all.
    """

    modality: str = ""


class Builder(ManualBuilder):
    """Reads one JSON file per source dataset, and the images they name."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin(
        "OmniMedVQA",
        "https://huggingface.co/datasets/foreverbeliever/OmniMedVQA",
        "each source dataset's own",
    )
    BUILDER_CONFIGS = [
        OmniConfig(name="all", description="All modalities of the open-access part."),
        *(
            OmniConfig(name=name.replace("-", "_"), description=f"{modality}.", modality=modality)
            for name, modality in MODALITIES.items()
        ),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns train and test, four fifths and one fifth of the images."""
        wanted = self.builder_config.modality
        # The folder of Images/, which image_path starts with, lies beside QA_information/.
        folder = files.folder(QUESTIONS)
        root = folder.parent.parent
        rows = (row for path in files.listed(folder, "*.json") for row in json_rows(path))

        def make(row: Row) -> dict[str, Any] | None:
            modality = _modality(row)
            return make_example(row, modality, files, root) if wanted in ("", modality) else None

        splits: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
        for example in files.each(rows, make):
            splits["test" if _is_test(example["image_id"]) else "train"].append(example)
        return splits


def make_example(
    row: Row, modality: str, files: SourceFolder, root: pathlib.Path
) -> dict[str, Any]:
    """Makes an example of one entry of a source dataset.

    Raises:
      RowError: if the entry lacks a field, or its image is absent.
    """
    name, dataset = row.path("image_path"), row.text("dataset")
    return question_example(
        image=files.image(row, name, root),
        image_id=name,
        example_id=f"omni_med_vqa/{dataset}/{row.identifier('question_id')}",
        question=row.text("question"),
        answer=row.answer("gt_answer"),
        question_type=row.word("question_type"),
        source=dataset,
        client=modality,
        modality=modality,
        language=ENGLISH,
    )


def _modality(row: Row) -> str:
    # One entry of "Chest CT Scan.json" says "modality" instead.
    column = "modality_type" if row.has("modality_type") else "modality"
    return modality_of(row.text(column), row.where)


def modality_of(released: str, where: str) -> str:
    """Maps a released modality, such as "CT(Computed Tomography)", to a value of `MODALITIES`.

    Raises:
      RowError: if it is unknown.
    """
    for start, modality in MODALITIES.items():
        if released.strip().lower().startswith(start):
            return modality
    raise RowError(
        Reason.UNKNOWN_VALUE,
        f"{where} has modality_type {shown(released)}, expected {', '.join(MODALITIES)}",
    )


def _is_test(image_path: str) -> bool:
    return Draws(image_path).fraction("split") >= TRAIN_SHARE
