"""Common base of the configs of families that have a section for images and one for text."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from f3ocus_jax.models.blocks.vision import CHANNELS
from f3ocus_jax.models.spec import Stack

Self = TypeVar("Self", bound="EncodersConfig")


class EncodersConfig:
    """Sizes that follow from those of the sections `vision_config` and `text_config`."""

    NAME: ClassVar[str]
    vision_config: Any
    text_config: Any

    @property
    def num_channels(self) -> int:
        """Channels of the image."""
        return CHANNELS

    @property
    def image_size(self) -> int:
        """Side of the square image, in pixels."""
        return self.vision_config.image_size

    @property
    def num_patches(self) -> int:
        """Number of patches of the image."""
        return self.vision_config.num_patches

    @property
    def vocab_size(self) -> int:
        """Number of entries in the tokenizer's vocabulary."""
        return self.text_config.vocab_size

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens."""
        return self.text_config.max_position_embeddings

    @property
    def stacks(self) -> Mapping[str, Stack]:
        """Stacks that can be selectable, by name; the first is the default."""
        raise NotImplementedError

    def with_image_size(self: Self, image_size: int) -> Self:
        """Returns the same sizes for images of another side."""
        config: Any = self  # a dataclass in every family
        vision_config = dataclasses.replace(config.vision_config, image_size=image_size)
        return dataclasses.replace(config, vision_config=vision_config)
