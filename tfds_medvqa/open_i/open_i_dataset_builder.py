"""Builder of Open-I: X-rays with their reports, or with the indication of the examination."""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.findings import FINDINGS, findings_example
from tfds_medvqa.common.manual_builder import ManualBuilder
from tfds_medvqa.common.rows import Row
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.open_i import reports
from tfds_medvqa.open_i.reports import Report

SPLIT_ENDS = {"train": 0.7, "validation": 0.8, "test": 1.0}
"""Upper end of each split in [0, 1), in which patients are distributed by a hash."""
SHORTER_SIDE = 512


@dataclasses.dataclass(eq=False)
class OpenIConfig(tfds.core.BuilderConfig):
    """Text that belongs to an image.

    Attributes:
      sections: Names of the report's sections.
    """

    sections: tuple[str, ...] = ()


class Builder(ManualBuilder):
    """Reads the XML reports, and the first image of each."""

    VERSION = tfds.core.Version("2.0.0")
    RELEASE_NOTES = {
        "1.0.0": "Initial release.",
        "2.0.0": "An enlarged cardiac shadow is cardiomegaly.",
    }
    ORIGIN = Origin("Open-I", "https://openi.nlm.nih.gov/faq", "CC BY-NC-ND 4.0")
    METADATA = {"findings": list(FINDINGS)}
    BUILDER_CONFIGS = [
        OpenIConfig(
            name="reports",
            description="With findings and impression.",
            sections=("FINDINGS", "IMPRESSION"),
        ),
        OpenIConfig(
            name="indication",
            description="With the indication alone, which is known before the image is read.",
            sections=("INDICATION",),
        ),
    ]

    def splits(self, files: SourceFolder) -> Mapping[str, Iterable[dict[str, Any]]]:
        """Returns 70, 10 and 20 % of the patients who have an image."""
        paths = files.listed(files.folder("ecgen-radiology"), "*.xml")
        if not paths:
            raise files.missing("ecgen-radiology/1.xml")
        known = [each for each in files.each(paths, reports.read_report) if each.images]
        names = [f"{report.images[0]}.png" for report in known]
        folder = next(filter(None, map(files.folder_of, names)), None)
        if folder is None:
            raise files.missing(names[0] if names else "CXR1_1_IM-0001-3001.png")

        def make(report: Report) -> tuple[str, dict[str, Any]]:
            return split_of(report), self._example(report, files, folder)

        splits: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLIT_ENDS}
        for split, example in files.each(known, make):
            splits[split].append(example)
        return splits

    def _example(self, report: Report, files: SourceFolder, folder: pathlib.Path) -> dict[str, Any]:
        name = f"{report.images[0]}.png"
        return findings_example(
            image=files.image(Row(report.where, {}), name, folder, SHORTER_SIDE),
            image_id=name,
            report=report.text(self.builder_config.sections),
            present=reports.findings(report.terms),
            source="open_i",
        )


def split_of(report: Report) -> str:
    """Returns a report's split, by a hash of its name."""
    fraction = Draws(report.identity).fraction("split")
    return next(split for split, end in SPLIT_ENDS.items() if fraction < end)
