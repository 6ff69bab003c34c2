"""Builder of Open-I: X-rays with their reports, or with the indication of the examination."""

import dataclasses
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from tfds_medvqa.common.draws import Draws
from tfds_medvqa.common.findings import FINDINGS, findings_example
from tfds_medvqa.common.images import read_image
from tfds_medvqa.common.manual_builder import ManualBuilder
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

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "Initial release."}
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
        paths = sorted(files.folder("ecgen-radiology").glob("*.xml"))
        if not paths:
            raise files.missing("ecgen-radiology/1.xml")
        known = [report for report in map(reports.read_report, paths) if report.images]
        first = files.file(f"{known[0].images[0]}.png")
        for report in known:
            if not (first.parent / f"{report.images[0]}.png").is_file():
                raise files.missing(f"{report.images[0]}.png")
        return {
            split: self._examples([each for each in known if split_of(each) == split], first.parent)
            for split in SPLIT_ENDS
        }

    def _examples(self, known: Iterable[Report], folder: pathlib.Path) -> Iterator[dict[str, Any]]:
        for report in known:
            yield findings_example(
                image=read_image(folder / f"{report.images[0]}.png", SHORTER_SIDE),
                image_id=f"{report.images[0]}.png",
                report=report.text(self.builder_config.sections),
                present=reports.findings(report.terms),
                source="open_i",
            )


def split_of(report: Report) -> str:
    """Returns a report's split, by a hash of its name."""
    fraction = Draws(report.identity).fraction("split")
    return next(split for split, end in SPLIT_ENDS.items() if fraction < end)
