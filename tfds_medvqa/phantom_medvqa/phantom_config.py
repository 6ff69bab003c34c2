"""Config of a phantom dataset: number and size of images, seed, and shift between clients."""

import dataclasses
import numbers
from collections.abc import Mapping

import tensorflow_datasets as tfds

from tfds_medvqa.phantom_medvqa.drawing import MODALITIES

CLIENTS: tuple[str, ...] = tuple(MODALITIES)
"""Nine clients in the order of MedVQA-FL's table."""

FEDERATION_SIZES: dict[str, int] = {
    "chest_xray": 520,
    "oct": 520,
    "colon_pathology": 460,
    "dermatoscope": 400,
    "fundus": 380,
    "breast_ultrasound": 360,
    "blood_microscope": 440,
    "kidney_cortex_microscope": 600,
    "abdominal_ct": 500,
}
"""Unequal as in MedVQA-FL, in the same order of size, so that weighted aggregation matters."""

TEST_EVERY = 5
"""Every fifth image of a client is a test image: 80 % train, 20 % test."""

SMALLEST_IMAGE, LARGEST_IMAGE = 16, 1024


@dataclasses.dataclass(eq=False)
class PhantomConfig(tfds.core.BuilderConfig):
    """Config of one phantom dataset; pass your own to `Builder(config=...)`.

    Attributes:
      name: Name of the folder that it is built in; if empty, it is derived from all other options,
        so that two different configs never share a folder.
      images_per_client: Number of images of every client, or client to number; clients that are
        not named have no images. At least 5, so that the test split is not empty.
      image_size: Pixels per side, in [16, 1024].
      seed: Seed of all random numbers, at least 0.
      shift: Distance between the clients' acquisitions and prevalences, in [0, 1].
    """

    name: str = ""
    images_per_client: int | Mapping[str, int] = dataclasses.field(
        default_factory=lambda: dict(FEDERATION_SIZES)
    )
    image_size: int = 64
    seed: int = 0
    shift: float = 1.0

    def __post_init__(self) -> None:
        """Validates the options and names the config.

        Raises:
          ValueError: a client is unknown, or a number is out of its range.
        """
        self._check_counts()
        _check_integer("image_size", self.image_size, SMALLEST_IMAGE, LARGEST_IMAGE)
        _check_integer("seed", self.seed, 0, 2**63 - 1)
        is_number = isinstance(self.shift, numbers.Real) and not isinstance(self.shift, bool)
        if not is_number or not 0.0 <= self.shift <= 1.0:
            raise ValueError(f"shift is {self.shift!r}; give a number in [0, 1]")
        self.name = self.name or self._derived_name()

    @property
    def counts(self) -> dict[str, int]:
        """Number of images of each client, in the order of `CLIENTS`."""
        if isinstance(self.images_per_client, int):
            return dict.fromkeys(CLIENTS, self.images_per_client)
        return {c: self.images_per_client[c] for c in CLIENTS if c in self.images_per_client}

    def _check_counts(self) -> None:
        """Raises ValueError for an unknown client, no client, or too few images."""
        if not isinstance(self.images_per_client, Mapping):
            _check_integer("images_per_client", self.images_per_client, TEST_EVERY)
            return
        if not self.images_per_client:
            raise ValueError("images_per_client names no client; give at least one count")
        for client, count in self.images_per_client.items():
            if client not in CLIENTS:
                choices = ", ".join(CLIENTS)
                raise ValueError(f"images_per_client names client {client!r}; choose of {choices}")
            _check_integer(f"images_per_client[{client!r}]", count, TEST_EVERY)

    def _derived_name(self) -> str:
        """Returns a folder name that is unique for the options."""
        counts = "-".join(f"{client}{count}" for client, count in self.counts.items())
        if isinstance(self.images_per_client, int):
            counts = f"each{self.images_per_client}"
        return f"{counts}-{self.image_size}px-seed{self.seed}-shift{float(self.shift)}"


def _check_integer(name: str, value: object, smallest: int, largest: int | None = None) -> None:
    """Raises ValueError unless `value` is an integer in [smallest, largest]."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if is_integer and smallest <= value and (largest is None or value <= largest):  # type: ignore[operator]
        return
    allowed = f"at least {smallest}" if largest is None else f"in [{smallest}, {largest}]"
    raise ValueError(f"{name} is {value!r}; give an integer {allowed}")
