"""Sizes of BLIP, and what they share with those of ALBEF."""

import dataclasses
from typing import ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import CHANNELS, VisionConfig

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels of CLIP's training images; ALBEF and BLIP took them over."""


@dataclasses.dataclass(frozen=True)
class GroundedConfig:
    """Sizes of such a model, by their Hugging Face names; a family says what its stacks are.

    Attributes:
      num_answers: classes of the answer head; 0 for none.
      adapter_size: bottleneck of the adapter in every selectable block; 0 for none.
      selectable: the stack whose blocks can be chosen, a key of `STAGES`.
      answering: one of `sizes.ANSWERING`.
      image_mean: of the pixels, as `vision.normalise` takes it.
      image_std: of the pixels.
      vision_config: sizes of the image encoder.
      text_config: sizes of the text encoder.
    """

    NAME: ClassVar[str]
    STAGES: ClassVar[dict[str, str]]
    """Names of the stacks that can be selectable to "vision", "text" (text blocks that do not look
    at the image) or "fusion" (those that do)."""

    num_answers: int
    adapter_size: int = 0
    selectable: str = ""
    answering: str = sizes.CLASSIFY
    image_mean: tuple[float, ...] = CLIP_MEAN
    image_std: tuple[float, ...] = CLIP_STD
    vision_config: VisionConfig = dataclasses.field(default_factory=VisionConfig)
    text_config: TextConfig = dataclasses.field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        choices = {"selectable": tuple(self.STAGES), "answering": sizes.ANSWERING}
        sizes.check(
            self, self.NAME, minimums={"adapter_size": 0, "num_answers": 0}, choices=choices
        )
        sizes.check_pixels(self, self.NAME, CHANNELS)

    @property
    def image_size(self) -> int:
        """Side of the square image, in pixels."""
        return self.vision_config.image_size

    @property
    def num_patches(self) -> int:
        """Patches of such an image."""
        return self.vision_config.num_patches

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer's vocabulary."""
        return self.text_config.vocab_size

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens."""
        return self.text_config.max_position_embeddings

    @property
    def text_layers(self) -> int:
        """How many of the text encoder's blocks, the first ones, do not look at the image."""
        return 0

    @property
    def fusion_layers(self) -> int:
        """How many of them do."""
        return self.text_config.num_hidden_layers - self.text_layers

    @property
    def decoder_config(self) -> TextConfig:
        """Sizes of the decoder."""
        return dataclasses.replace(self.text_config, num_hidden_layers=self.fusion_layers)

    @property
    def stage(self) -> str:
        """What the selectable stack is, a value of `STAGES`."""
        return self.STAGES[self.selectable]

    @property
    def rows(self) -> tuple[int, int]:
        """(L, D): how many blocks can be chosen, and how wide they are."""
        image, text = self.vision_config, self.text_config
        return {
            "vision": (image.num_hidden_layers, image.hidden_size),
            "text": (self.text_layers, text.hidden_size),
            "fusion": (self.fusion_layers, text.hidden_size),
        }[self.stage]


@dataclasses.dataclass(frozen=True)
class BlipConfig(GroundedConfig):
    """Sizes of a BLIP for question answering.

    The defaults are those that transformers takes for what a config.json does not name. The sizes
    of the text encoder are those of the decoder, too.
    """

    NAME = "BLIP"
    STAGES: ClassVar[dict[str, str]] = {"text": "fusion", "vision": "vision"}

    selectable: str = "text"

    def __post_init__(self) -> None:
        super().__post_init__()
        # transformers makes the decoder look at states of the image's width, which are the text's.
        image, text = self.vision_config.hidden_size, self.text_config.hidden_size
        if image != text:
            allowed = f"text_config.hidden_size = {text}"
            raise ConfigError(f"BLIP vision_config.hidden_size = {image}, must be {allowed}")
