"""Builder of the open-access part of OmniMedVQA: one modality, or all."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import question_example
from tfds_medvqa.common.images import read_image
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder, read_json

QUESTIONS = "QA_information/Open-access"
COLUMNS = ("dataset", "question_id", "question_type", "question", "gt_answer", "image_path")
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
        rows = [
            row
            for path in sorted(files.folder(QUESTIONS).glob("*.json"))
            for row in read_rows(path)
            if wanted in ("", row["modality"])
        ]
        # The folder of Images/, which image_path starts with, lies beside QA_information/.
        root = files.folder(QUESTIONS).parent.parent
        for row in rows:
            if not (root / row["image_path"]).is_file():
                raise files.missing(row["image_path"])
        return {
            "train": _examples((row for row in rows if not _is_test(row)), root),
            "test": _examples((row for row in rows if _is_test(row)), root),
        }


def read_rows(path: pathlib.Path) -> Iterator[dict[str, Any]]:
    """Yields the questions of a source dataset with their modality.

    Raises:
      BuildError: if a question lacks a field or has an unknown modality.
    """
    for number, row in enumerate(read_json(path)):
        absent = [column for column in COLUMNS if column not in row]
        if absent:
            raise BuildError(f"{path}: entry {number} has no {absent[0]!r}")
        # One entry of "Chest CT Scan.json" says "modality" instead.
        released = str(row.get("modality_type", row.get("modality", "")))
        yield row | {"modality": modality_of(released, f"{path}: entry {number}")}


def modality_of(released: str, where: str) -> str:
    """Maps a released modality, such as "CT(Computed Tomography)", to a value of `MODALITIES`.

    Raises:
      BuildError: if it is unknown.
    """
    for start, modality in MODALITIES.items():
        if released.strip().lower().startswith(start):
            return modality
    raise BuildError(f"{where} has modality_type {released!r}, expected {', '.join(MODALITIES)}")


def _is_test(row: Mapping[str, Any]) -> bool:
    return Draws(row["image_path"]).fraction("split") >= TRAIN_SHARE


def _examples(rows: Iterable[Mapping[str, Any]], root: pathlib.Path) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield question_example(
            image=read_image(root / row["image_path"]),
            image_id=row["image_path"],
            example_id=f"omni_med_vqa/{row['dataset']}/{row['question_id']}",
            question=row["question"],
            answer=row["gt_answer"],
            question_type=row["question_type"].strip().lower(),
            source=row["dataset"],
            client=row["modality"],
            modality=row["modality"],
        )
