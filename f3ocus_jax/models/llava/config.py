"""Sizes of LLaVA-1.5."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.clip import ClipConfig
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.encoders import ImageTokensConfig

LARGE_VISION = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "image_size": 336,
    "patch_size": 14,
    "projection_dim": 768,
}
"""Sizes of ViT-L/14 at 336 pixels, the image encoder of LLaVA-1.5."""


def _large_vision() -> ClipConfig:
    return sizes.build(ClipConfig, LARGE_VISION)


@dataclasses.dataclass(frozen=True)
class LlavaConfig(ImageTokensConfig):
    """Sizes of a LLaVA-1.5 by their Hugging Face names.

    The defaults are those that transformers has for what a config.json does not name.

    Attributes:
      vision_config: Sizes of the image encoder.
      text_config: Sizes of the language model.
      image_token_index: Token id that stands for the image in a question.
      vision_feature_layer: Index of the image block whose output is used, counted from the last
        block, which is -1.
      vision_feature_select_strategy: Always "default": the class token is dropped.
      projector_hidden_act: Activation between the two linear maps from the image to the text.
      multimodal_projector_bias: True if these maps have a bias.
      tie_word_embeddings: Always False; the output weights are a matrix of their own.
    """

    NAME: ClassVar[str] = "LLaVA"

    vision_config: ClipConfig = dataclasses.field(default_factory=_large_vision)
    text_config: LlamaConfig = dataclasses.field(default_factory=LlamaConfig)
    image_token_index: int = 32000
    vision_feature_layer: int = -2
    vision_feature_select_strategy: str = "default"
    projector_hidden_act: str = "gelu"
    multimodal_projector_bias: bool = True
    tie_word_embeddings: bool = False

    def __post_init__(self) -> None:
        depth = self.vision_config.num_hidden_layers
        sizes.check(
            self,
            self.NAME,
            minimums={"image_token_index": 0, "vision_feature_layer": -depth},
            choices={
                "vision_feature_select_strategy": ("default",),
                "projector_hidden_act": tuple(ACTIVATIONS),
                "tie_word_embeddings": (False,),
            },
        )
        if self.vision_feature_layer > -1:
            given = f"LLaVA vision_feature_layer = {self.vision_feature_layer}"
            raise ConfigError(f"{given}, must be negative: it counts from the last block")
        self.check_room()

    @property
    def image_token(self) -> int:
        """Token id that stands for the image in a question."""
        return self.image_token_index

    @property
    def vision_layers(self) -> int:
        """Number of image blocks whose output is used; later ones have no gradient."""
        return self.vision_config.num_hidden_layers + self.vision_feature_layer + 1


def standardise(named: Mapping[str, Any]) -> dict[str, Any]:
    """Gives sizes of a config.json the names that `LlavaConfig` has for them.

    Args:
      named: Values by name, as transformers 4 or 5 writes them.

    Returns:
      The same without null values, and with the base of rotary positions under version 5's name.

    Raises:
      ConfigError: For several feature layers.
    """
    named = sizes.without_nulls(named)
    if not isinstance(named.get("vision_feature_layer", -2), int):
        given = named["vision_feature_layer"]
        raise ConfigError(f"vision_feature_layer = {given!r}, must be one number")
    text = named.get("text_config")
    if isinstance(text, Mapping):
        text = sizes.without_nulls(text)
        named["text_config"] = text | {"rope_parameters": sizes.rope(text)}
    return named
