"""Records of MedMNIST's subsets: addresses, checksums, labels and counts.

The facts are those of MedMNIST's package 3.0.2 (Yang et al., 2023), kept in medmnist_records.json.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping

MEDMNIST_SPLITS = ("train", "val", "test")
RESOLUTIONS = (28, 64, 128, 224)
"""Sides of the images in pixels; those above 28 are MedMNIST+."""


@dataclasses.dataclass(frozen=True)
class Record:
    """One subset.

    Attributes:
      name: MedMNIST's name of the subset, such as "breastmnist".
      labels: Meaning of every class or, for a multi-label subset, of every label column.
      multi_label: True if an image has a vector of 0 and 1 instead of one class.
      channels: 1 for grey, 3 for colour.
      counts: Number of images in each of MedMNIST's splits.
      addresses: Resolution to URL of the file.
      md5: Resolution to MD5 checksum of the file.
      licence: Licence of images and labels.
    """

    name: str
    labels: tuple[str, ...]
    multi_label: bool
    channels: int
    counts: Mapping[str, int]
    addresses: Mapping[int, str]
    md5: Mapping[int, str]
    licence: str

    @property
    def total(self) -> int:
        """Number of images in all splits together."""
        return sum(self.counts.values())

    def image_ids(self) -> Iterator[str]:
        """Yields the id of every image, such as "breastmnist/train/17", in the file's order."""
        for split in MEDMNIST_SPLITS:
            for index in range(self.counts[split]):
                yield f"{self.name}/{split}/{index}"

    def file_name(self, resolution: int) -> str:
        """Returns MedMNIST's name of the file, such as "breastmnist_64.npz"."""
        return f"{self.name}.npz" if resolution == 28 else f"{self.name}_{resolution}.npz"


def load() -> dict[str, Record]:
    """Returns the twelve two-dimensional subsets by name."""
    content = json.loads(
        pathlib.Path(__file__).with_name("medmnist_records.json").read_text(encoding="utf-8")
    )
    return {name: _parse(name, facts) for name, facts in content["subsets"].items()}


def _parse(name: str, facts: Mapping) -> Record:
    def by_resolution(key: str) -> dict[int, str]:
        return {size: facts[key if size == 28 else f"{key}_{size}"] for size in RESOLUTIONS}

    return Record(
        name=name,
        labels=tuple(facts["label"][str(index)] for index in range(len(facts["label"]))),
        multi_label=facts["task"].startswith("multi-label"),
        channels=facts["n_channels"],
        counts=facts["n_samples"],
        addresses=by_resolution("url"),
        md5=by_resolution("MD5"),
        licence=facts["license"],
    )
