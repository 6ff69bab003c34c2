"""Builder of MIMIC-CXR-JPG: frontal X-rays, with or without their reports."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.findings import FINDINGS, OTHER, findings_example
from tfds_medvqa.common.images import read_image
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.source_folder import Origin, SourceFolder, read_table, read_text

LABELS, SPLIT, METADATA = (
    f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("chexpert", "split", "metadata")
)
SPLITS = {"train": "train", "validation": "validate", "test": "test"}
FRONTAL = ("AP", "PA")
POSITIVE = 1.0
"""Positive label of CheXpert; 0 is negative, -1 uncertain, and an empty field not mentioned."""
SHORTER_SIDE = 512
SECTION = re.compile(r"^\s*(FINDINGS|IMPRESSION):(.*?)(?=^\s*[A-Z][A-Z /]+:|\Z)", re.M | re.S)


@dataclasses.dataclass(frozen=True)
class Picture:
    """Identifiers of one X-ray, which form its path."""

    subject: str
    study: str
    image: str

    @property
    def study_path(self) -> str:
        """Folder of the study's images, and its report's path without ".txt"."""
        return f"files/p{self.subject[:2]}/p{self.subject}/s{self.study}"


@dataclasses.dataclass(eq=False)
class MimicConfig(tfds.core.BuilderConfig):
    """Text that belongs to an image.

    Attributes:
      with_reports: If True, the report of the study; otherwise the same question for all images.
    """

    with_reports: bool = True


class Builder(ManualBuilder):
    """Reads the released tables, and the files they name."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
    ORIGIN = Origin(
        "MIMIC-CXR-JPG",
        "https://physionet.org/content/mimic-cxr-jpg/",
        "PhysioNet Credentialed Health Data License 1.5.0",
    )
    METADATA = {"findings": list(FINDINGS)}
    BUILDER_CONFIGS = [
        MimicConfig(name="reports", description="With findings and impression."),
        MimicConfig(name="images", description="Without reports.", with_reports=False),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the released splits of the frontal X-rays whose study has labels."""
        labels = read_labels(files.file(LABELS))
        frontal = read_frontal(files.file(METADATA))
        pictures: dict[str, list[Picture]] = {name: [] for name in SPLITS.values()}
        for row in read_table(files.file(SPLIT), ("dicom_id", "study_id", "subject_id", "split")):
            if row["split"] not in pictures:
                raise BuildError(f"{SPLIT}: split {row['split']!r} is not known")
            if row["dicom_id"] in frontal and row["study_id"] in labels:
                picture = Picture(row["subject_id"], row["study_id"], row["dicom_id"])
                pictures[row["split"]].append(picture)
        return {
            name: self._examples(files, pictures[released], labels)
            for name, released in SPLITS.items()
        }

    def _examples(
        self,
        files: SourceFolder,
        pictures: Iterable[Picture],
        labels: Mapping[str, tuple[str, ...]],
    ) -> Iterator[dict[str, Any]]:
        for picture in pictures:
            path = files.file(f"{picture.study_path}/{picture.image}.jpg")
            report = ""
            if self.builder_config.with_reports:
                report = report_text(files.file(f"{picture.study_path}.txt"))
            yield findings_example(
                image=read_image(path, SHORTER_SIDE),
                image_id=f"{picture.image}.jpg",
                report=report,
                present=labels[picture.study],
                source="mimic_cxr",
            )


def read_labels(path: pathlib.Path) -> dict[str, tuple[str, ...]]:
    """Reads the certain findings of every study."""
    names = {name.title(): name for name in FINDINGS if name != OTHER}
    return {
        row["study_id"]: tuple(
            name for column, name in names.items() if row[column] and float(row[column]) == POSITIVE
        )
        for row in read_table(path, ("study_id", *names))
    }


def read_frontal(path: pathlib.Path) -> frozenset[str]:
    """Reads the identifiers of the frontal X-rays (AP or PA)."""
    rows = read_table(path, ("dicom_id", "ViewPosition"))
    return frozenset(row["dicom_id"] for row in rows if row["ViewPosition"] in FRONTAL)


def report_text(path: pathlib.Path) -> str:
    """Returns findings and impression of a report, or all of it if it has neither section."""
    text = read_text(path)
    sections = [" ".join(body.split()) for _, body in SECTION.findall(text)]
    return " ".join(section for section in sections if section) or " ".join(text.split())
