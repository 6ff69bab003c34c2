"""Which images a phantom dataset holds: how many, how large, which seed, how shifted."""

import dataclasses
import numbers
from collections.abc import Mapping

import tensorflow_datasets as tfds

from tfds_medvqa.phantom_medvqa.drawing import MODALITIES

CLIENTS: tuple[str, ...] = tuple(MODALITIES)
"""The nine clients, in the order of MedVQA-FL's table."""

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
    """One phantom dataset; a config made by hand goes to `Builder(config=...)`.

    Attributes:
      name: of the folder that it is built in; left empty, it is made of all the other options, so
        that two different configs never share a folder.
      images_per_client: one count for all clients, or a count per client, in which case clients
        that are not named have no images. At least 5, so that the test split is not empty.
      image_size: pixels per side, in [16, 1024].
      seed: of all random numbers, at least 0.
      shift: how far the clients' acquisitions and prevalences lie apart, in [0, 1].
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
        """How many images each client has, in the order of `CLIENTS`."""
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
        """Returns a folder name that tells the options apart."""
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
