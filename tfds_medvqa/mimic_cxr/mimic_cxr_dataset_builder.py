"""Builder of MIMIC-CXR-JPG: frontal X-rays, with or without their reports."""

import dataclasses
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.findings import FINDINGS, OTHER, findings_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import Reason, Row, RowError, shown
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.tables import read_text, table_rows

LICENCE = "PhysioNet Credentialed Health Data License 1.5.0"
LABELS, SPLIT, METADATA = (
    f"mimic-cxr-2.0.0-{name}.csv.gz" for name in ("chexpert", "split", "metadata")
)
REPORTS = Origin(
    "MIMIC-CXR, which holds the reports, unlike MIMIC-CXR-JPG with images and labels",
    "https://physionet.org/content/mimic-cxr/ (mimic-cxr-reports.zip, unpacked)",
    LICENCE,
)
SPLITS = {"train": "train", "validation": "validate", "test": "test"}
FRONTAL = ("AP", "PA")
NAMES = {name.title(): name for name in FINDINGS if name != OTHER}
"""Column to finding."""
LABEL_COLUMNS = ("study_id", *NAMES)
POSITIVE = 1.0
"""Positive label of CheXpert; 0 is negative, -1 uncertain, and an empty field not mentioned."""
SHORTER_SIDE = 512
SECTION = re.compile(r"^\s*(FINDINGS|IMPRESSION):(.*?)(?=^\s*[A-Z][A-Z /]+:|\Z)", re.M | re.S)


@dataclasses.dataclass(frozen=True)
class Picture:
    """One X-ray, by the identifiers that form its path, with its split and its row."""

    subject: str
    study: str
    image: str
    split: str
    row: Row

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
        LICENCE,
    )
    METADATA = {"findings": list(FINDINGS)}
    BUILDER_CONFIGS = [
        MimicConfig(name="reports", description="With findings and impression."),
        MimicConfig(name="images", description="Without reports.", with_reports=False),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns the released splits of the frontal X-rays whose study has labels."""
        labels = dict(files.each(table_rows(files.file(LABELS), LABEL_COLUMNS), read_label))
        views = table_rows(files.file(METADATA), ("dicom_id", "ViewPosition"))
        frontal = frozenset(files.each(views, read_frontal))
        rows = table_rows(files.file(SPLIT), ("dicom_id", "study_id", "subject_id", "split"))

        def make(row: Row) -> Picture | None:
            picture = read_picture(row)
            return picture if picture.image in frontal and picture.study in labels else None

        pictures: dict[str, list[Picture]] = {name: [] for name in SPLITS.values()}
        for picture in files.each(rows, make):
            pictures[picture.split].append(picture)
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
        def make(picture: Picture) -> dict[str, Any]:
            row = picture.row
            name = f"{picture.study_path}/{picture.image}.jpg"
            image = files.image(row, name, shorter_side=SHORTER_SIDE)
            report = ""
            if self.builder_config.with_reports:
                path = files.named_file(row, f"{picture.study_path}.txt", origin=REPORTS)
                report = _read_report(row, path)
            return findings_example(
                image=image,
                image_id=f"{picture.image}.jpg",
                report=report,
                present=labels[picture.study],
                source="mimic_cxr",
                patient=picture.subject,
            )

        return files.each(pictures, make)


def read_label(row: Row) -> tuple[str, tuple[str, ...]]:
    """Returns a study and its certain findings.

    Raises:
      RowError: for a label that is no number.
    """
    certain = []
    for column, name in NAMES.items():
        label = row.value(column)
        try:
            if label and float(label) == POSITIVE:
                certain.append(name)
        except ValueError as error:
            detail = f"has {column!r} {shown(label)}, expected a number"
            raise row.error(Reason.UNKNOWN_VALUE, detail) from error
    return row.text("study_id"), tuple(certain)


def read_frontal(row: Row) -> str | None:
    """Returns the identifier of a frontal X-ray (AP or PA); None for another view."""
    return row.text("dicom_id") if row.value("ViewPosition") in FRONTAL else None


def read_picture(row: Row) -> Picture:
    """Returns the X-ray of a row.

    Raises:
      RowError: if the row lacks an identifier, or its split is unknown.
    """
    split = row.text("split")
    if split not in SPLITS.values():
        allowed = ", ".join(SPLITS.values())
        raise row.error(Reason.UNKNOWN_VALUE, f"has split {shown(split)}, expected {allowed}")
    subject, study, image = (row.text(name) for name in ("subject_id", "study_id", "dicom_id"))
    return Picture(subject, study, image, split, Row(row.where, {}))


def _read_report(row: Row, path: pathlib.Path) -> str:
    try:
        return report_text(path)
    except BuildError as error:
        raise RowError(Reason.NO_TEXT, f"{error} ({row.where})") from error


def report_text(path: pathlib.Path) -> str:
    """Returns findings and impression of a report, or all of it if it has neither section."""
    text = read_text(path)
    sections = [" ".join(body.split()) for _, body in SECTION.findall(text)]
    return " ".join(section for section in sections if section) or " ".join(text.split())
