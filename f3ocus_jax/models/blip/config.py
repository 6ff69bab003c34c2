"""Sizes of BLIP, and what they share with those of ALBEF."""

import dataclasses
from typing import ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.encoders import EncodersConfig
from f3ocus_jax.models.spec import Stack


@dataclasses.dataclass(frozen=True)
class FusionConfig(EncodersConfig):
    """Sizes of an image encoder and a text encoder whose last blocks attend to the image.

    Attributes:
      vision_config: Sizes of the image encoder.
      text_config: Sizes of the text encoder.
    """

    vision_config: VisionConfig = dataclasses.field(default_factory=VisionConfig)
    text_config: TextConfig = dataclasses.field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        sizes.check(self, self.NAME)

    @property
    def text_layers(self) -> int:
        """Number of text blocks, the first ones, that do not attend to the image."""
        return 0

    @property
    def fusion_layers(self) -> int:
        """Number of text blocks that attend to the image."""
        return self.text_config.num_hidden_layers - self.text_layers

    @property
    def decoder_config(self) -> TextConfig:
        """Sizes of the decoder."""
        return dataclasses.replace(self.text_config, num_hidden_layers=self.fusion_layers)

    @property
    def vision_stack(self) -> Stack:
        """Blocks of the image encoder."""
        image = self.vision_config
        return Stack("vision_blocks", image.num_hidden_layers, image.hidden_size)

    @property
    def text_stack(self) -> Stack:
        """Text blocks that do not attend to the image."""
        return Stack("text_blocks", self.text_layers, self.text_config.hidden_size)

    @property
    def fusion_stack(self) -> Stack:
        """Text blocks that attend to the image."""
        return Stack("fusion_blocks", self.fusion_layers, self.text_config.hidden_size)


@dataclasses.dataclass(frozen=True)
class BlipConfig(FusionConfig):
    """Sizes of a BLIP for question answering.

    The defaults are those that transformers has for what a config.json does not name. The decoder
    has the sizes of the text encoder.
    """

    NAME: ClassVar[str] = "BLIP"

    def __post_init__(self) -> None:
        super().__post_init__()
        # In transformers, the decoder attends to states of the image's width, which are the text's.
        image, text = self.vision_config.hidden_size, self.text_config.hidden_size
        if image != text:
            allowed = f"text_config.hidden_size = {text}"
            raise ConfigError(f"BLIP vision_config.hidden_size = {image}, must be {allowed}")

    @property
    def stacks(self) -> dict[str, Stack]:
        """Stacks that can be selectable; all text blocks attend to the image."""
        return {"text": self.fusion_stack, "vision": self.vision_stack}
