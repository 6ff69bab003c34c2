"""How large is a BLIP, and which sizes are possible?"""

import dataclasses

from f3ocus_jax.config import ConfigError
from f3ocus_jax.models import grounded, sizes
from f3ocus_jax.models.bert import TextConfig
from f3ocus_jax.models.vision import CHANNELS, VisionConfig

STACKS = ("text", "vision")

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Of the pixels of CLIP's training images; BLIP took them over."""


@dataclasses.dataclass(frozen=True)
class BlipConfig:
    """Sizes of a BLIP for question answering by their Hugging Face names.

    The defaults are those that transformers takes for what a config.json does not name.

    Attributes:
      num_answers: C, classes of the answer head.
      adapter_size: bottleneck of the adapter in every selectable block; 0 for none.
      selectable: "text" (the image-grounded text encoder) or "vision".
      image_mean: of the pixels, as `vision.normalise` takes it.
      image_std: of the pixels.
      vision_config: sizes of the image encoder.
      text_config: sizes of the text encoder and, alike, of the text decoder.
    """

    num_answers: int
    adapter_size: int = 0
    selectable: str = STACKS[0]
    image_mean: tuple[float, ...] = CLIP_MEAN
    image_std: tuple[float, ...] = CLIP_STD
    vision_config: VisionConfig = dataclasses.field(default_factory=VisionConfig)
    text_config: TextConfig = dataclasses.field(default_factory=TextConfig)

    def __post_init__(self) -> None:
        choices = {"selectable": STACKS}
        sizes.check(self, "BLIP", minimums={"adapter_size": 0}, choices=choices)
        sizes.check_pixels(self, "BLIP", CHANNELS)
        # transformers makes the decoder look at states of the image's width, which are the text's.
        image, text = self.vision_config.hidden_size, self.text_config.hidden_size
        if image != text:
            allowed = f"text_config.hidden_size = {text}"
            raise ConfigError(f"BLIP vision_config.hidden_size = {image}, must be {allowed}")

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
    def decoder_config(self) -> TextConfig:
        """Sizes of the text decoder."""
        return self.text_config

    @property
    def text_layers(self) -> int:
        """Text blocks that do not look at the image: none."""
        return 0

    @property
    def stage(self) -> str:
        """Which of `grounded.STAGES` is the selectable stack."""
        return {"text": "fusion", "vision": "vision"}[self.selectable]

    @property
    def rows(self) -> tuple[int, int]:
        """(L, D): how many blocks can be chosen, and how wide they are."""
        return grounded.rows(self)
