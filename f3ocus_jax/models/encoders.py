"""Common base of the configs of families that have a section for images and one for text."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from f3ocus_jax.errors import ConfigError
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


class ImageTokensConfig(EncodersConfig):
    """Sizes of a family whose language model reads an image's tokens among those of the question.

    Attributes:
      tie_word_embeddings: True if the output weights are the word embeddings.
    """

    tie_word_embeddings: bool

    @property
    def image_token(self) -> int:
        """Token id that stands for the image in a question."""
        raise NotImplementedError

    @property
    def image_tokens(self) -> int:
        """Number of tokens that replace it."""
        return self.num_patches

    @property
    def vision_layers(self) -> int:
        """Number of image blocks whose output is used; later ones have no gradient."""
        return self.vision_config.num_hidden_layers

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens; the image counts as one token."""
        return self.text_config.max_position_embeddings - self.image_tokens + 1

    @property
    def stacks(self) -> dict[str, Stack]:
        """Blocks of the language model, and the image blocks whose output is used."""
        text, image = self.text_config, self.vision_config
        return {
            "language": Stack("language_blocks", text.num_hidden_layers, text.hidden_size),
            "vision": Stack("vision_blocks", self.vision_layers, image.hidden_size),
        }

    def check_room(self) -> None:
        """Raises ConfigError if an image leaves no room for a question."""
        longest = self.text_config.max_position_embeddings
        if self.image_tokens >= longest:
            raise ConfigError(
                f"{self.NAME} has {self.image_tokens} image tokens, must be below "
                f"max_position_embeddings = {longest}"
            )
