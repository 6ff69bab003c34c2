"""Specification of a model: Hugging Face's sizes, and the choices of a run beside them."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes

CLASSIFY, GENERATE = "classify", "generate"
ANSWERING = (CLASSIFY, GENERATE)
"""Ways to answer: by a head over the answers, or token by token."""


@dataclasses.dataclass(frozen=True)
class Stack:
    """A stack of blocks of which layers can be selected.

    Attributes:
      submodule: Name of the stack among the submodules of its model.
      num_layers: L.
      width: D.
    """

    submodule: str
    num_layers: int
    width: int


class FamilyConfig(Protocol):
    """Sizes of a model by their Hugging Face names, as the system uses them in any family."""

    NAME: ClassVar[str]
    """Name of the architecture in messages."""

    @property
    def image_size(self) -> int:
        """Side of the square image, in pixels."""

    @property
    def num_channels(self) -> int:
        """Channels of the image."""

    @property
    def num_patches(self) -> int:
        """Number of patches of the image."""

    @property
    def vocab_size(self) -> int:
        """Number of entries in the tokenizer's vocabulary."""

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens."""

    @property
    def stacks(self) -> Mapping[str, Stack]:
        """Stacks that can be selectable, by name; the first is the default."""

    def with_image_size(self, image_size: int) -> Any:
        """Returns the same sizes for images of another side."""


Config = TypeVar("Config", bound=FamilyConfig)


@dataclasses.dataclass(frozen=True)
class Setup:
    """Choices of a run about a model, which Hugging Face's config does not have.

    Attributes:
      num_answers: Classes of the answer head; 0 for no head.
      selectable: Name of the stack whose layers can be selected.
      image_mean: Mean of the pixels per channel, or one for all, in [0, 1].
      image_std: Standard deviation of the pixels, likewise.
      adapter_size: Bottleneck of the adapter in every selectable block; 0 for no adapters.
      answering: One of `ANSWERING`.
    """

    num_answers: int
    selectable: str
    image_mean: tuple[float, ...]
    image_std: tuple[float, ...]
    adapter_size: int = 0
    answering: str = CLASSIFY


@dataclasses.dataclass(frozen=True)
class ModelSpec(Generic[Config]):
    """Everything that decides a model's functions and the shapes of its parameters.

    Attributes:
      family: Key of `FAMILIES`.
      config: Sizes.
      setup: Choices beside them.

    Raises:
      ConfigError: For a setup that does not fit the sizes.
    """

    family: str
    config: Config
    setup: Setup

    def __post_init__(self) -> None:
        name = self.config.NAME
        sizes.check(
            self.setup,
            name,
            minimums={"num_answers": 0, "adapter_size": 0},
            choices={"selectable": tuple(self.config.stacks), "answering": ANSWERING},
        )
        _check_pixels(self.setup, name, self.config.num_channels)

    @property
    def stack(self) -> Stack:
        """The selectable stack."""
        return self.config.stacks[self.setup.selectable]

    @property
    def generates(self) -> bool:
        """True if the model writes its answers."""
        return self.setup.answering == GENERATE

    def replace(self, **changes: Any) -> "ModelSpec[Config]":
        """Returns the same sizes with another setup."""
        return ModelSpec(self.family, self.config, dataclasses.replace(self.setup, **changes))

    def with_image_size(self, image_size: int) -> "ModelSpec[Config]":
        """Returns the specification for images of another side; its own for 0."""
        if not image_size:
            return self
        return ModelSpec(self.family, self.config.with_image_size(image_size), self.setup)


def _check_pixels(setup: Setup, model: str, channels: int) -> None:
    """Raises ConfigError for means and deviations that fit no image of so many channels."""
    for name in ("image_mean", "image_std"):
        values = getattr(setup, name)
        if len(values) not in (1, channels):
            raise ConfigError(f"{model} {name} = {list(values)}, must hold 1 or {channels} numbers")
    if min(setup.image_std) <= 0:
        raise ConfigError(f"{model} image_std = {list(setup.image_std)}, must be above 0")
