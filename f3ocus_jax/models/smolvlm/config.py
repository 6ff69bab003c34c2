"""Sizes of SmolVLM and Idefics3."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.siglip import SiglipConfig
from f3ocus_jax.models.encoders import ImageTokensConfig

MODEL_TYPES = ("smolvlm", "idefics3")

BASE_VISION = sizes.BASE_STACK | {"image_size": 512, "patch_size": 16}
"""Sizes of SigLIP-B/16 at 512 pixels, the image encoder of SmolVLM-256M and 500M."""


def _base_vision() -> SiglipConfig:
    return sizes.build(SiglipConfig, BASE_VISION)


@dataclasses.dataclass(frozen=True)
class SmolVlmConfig(ImageTokensConfig):
    """Sizes of a SmolVLM or an Idefics3 by their Hugging Face names.

    Attributes:
      model_type: One of `MODEL_TYPES`, names of the same model in transformers.
      vision_config: Sizes of the image encoder.
      text_config: Sizes of the language model.
      image_token_id: Token id that stands for the image in a question.
      scale_factor: Side of the square of patches that becomes one token.
      tie_word_embeddings: True if the output weights are the word embeddings.
    """

    NAME: ClassVar[str] = "SmolVLM"

    model_type: str = "smolvlm"
    vision_config: SiglipConfig = dataclasses.field(default_factory=_base_vision)
    text_config: LlamaConfig = dataclasses.field(default_factory=LlamaConfig)
    image_token_id: int = 128257
    scale_factor: int = 2
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        minimums, choices = {"image_token_id": 0}, {"model_type": MODEL_TYPES}
        sizes.check(self, self.NAME, minimums=minimums, choices=choices)
        side = self.vision_config.side
        if side % self.scale_factor != 0:
            raise ConfigError(
                f"{self.NAME} images are {side} patches wide, must be a multiple of "
                f"scale_factor = {self.scale_factor}"
            )
        self.check_room()

    @property
    def image_token(self) -> int:
        """Token id that stands for the image in a question."""
        return self.image_token_id

    @property
    def image_tokens(self) -> int:
        """Number of tokens that replace it."""
        return self.num_patches // self.scale_factor**2


def standardise(named: Mapping[str, Any]) -> dict[str, Any]:
    """Gives sizes of a config.json the names that `SmolVlmConfig` has for them.

    Args:
      named: Values by name, as transformers 4 or 5 writes them; `sizes.GENERATION`, if it is there,
        holds those of generation_config.json.

    Returns:
      The same without null values, with the base of rotary positions under version 5's name, and
      with the token that ends an answer of generation_config.json.
    """
    named = sizes.without_nulls(named)
    text = named.get("text_config")
    if isinstance(text, Mapping):
        text = sizes.without_nulls(text)
        ends = sizes.end_token(named.get(sizes.GENERATION, {}))
        named["text_config"] = text | {"rope_parameters": sizes.rope(text)} | ends
    return named
