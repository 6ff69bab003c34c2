"""How large is a LLaVA, and which sizes are possible?"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks import clip
from f3ocus_jax.models.blocks.activations import ACTIVATIONS
from f3ocus_jax.models.blocks.clip import ClipConfig
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.vision import CHANNELS

STACKS = ("language", "vision")


def _large_vision() -> ClipConfig:
    """Returns the sizes of ViT-L/14 at 336 pixels."""
    return ClipConfig(
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
        image_size=336,
        patch_size=14,
        projection_dim=768,
    )


@dataclasses.dataclass(frozen=True)
class LlavaConfig:
    """Sizes of a LLaVA-1.5 by their Hugging Face names.

    The defaults are those that transformers takes for what a config.json does not name.

    Attributes:
      num_answers: classes of the answer head; 0 for none.
      adapter_size: bottleneck of the adapter in every selectable block; 0 for none.
      selectable: "language" (the blocks of the language model) or "vision" (those of the image
        encoder up to the one whose output is used; later ones have no gradient).
      answering: one of `sizes.ANSWERING`.
      image_mean: of the pixels, as `vision.normalise` takes it.
      image_std: of the pixels.
      vision_config: sizes of the image encoder.
      text_config: sizes of the language model.
      image_token_index: the token that stands for the image in a question.
      vision_feature_layer: which output of the image encoder is used, counted from the last
        block's, which is -1.
      vision_feature_select_strategy: "default": without the class token.
      projector_hidden_act: activation between the two maps from the image to the text.
      multimodal_projector_bias: whether these maps have a bias.
      tie_word_embeddings: False: the map to scores is a matrix of its own.
    """

    num_answers: int
    adapter_size: int = 0
    selectable: str = STACKS[0]
    answering: str = sizes.CLASSIFY
    image_mean: tuple[float, ...] = clip.MEAN
    image_std: tuple[float, ...] = clip.STD
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
            "LLaVA",
            minimums={
                "adapter_size": 0,
                "num_answers": 0,
                "image_token_index": 0,
                "vision_feature_layer": -depth,
            },
            choices={
                "selectable": STACKS,
                "answering": sizes.ANSWERING,
                "vision_feature_select_strategy": ("default",),
                "projector_hidden_act": tuple(ACTIVATIONS),
                "tie_word_embeddings": (False,),
            },
        )
        if self.vision_feature_layer > -1:
            given = f"LLaVA vision_feature_layer = {self.vision_feature_layer}"
            raise ConfigError(f"{given}, must be negative: it counts from the last block")
        sizes.check_pixels(self, "LLaVA", CHANNELS)
        if self.num_patches >= self.text_config.max_position_embeddings:
            raise ConfigError(
                f"LLaVA has {self.num_patches} image tokens, must be below "
                f"max_position_embeddings = {self.text_config.max_position_embeddings}"
            )

    @property
    def image_size(self) -> int:
        """Side of the square image, in pixels."""
        return self.vision_config.image_size

    @property
    def num_patches(self) -> int:
        """Patches of such an image, each of them a token of the language model."""
        return self.vision_config.num_patches

    @property
    def vocab_size(self) -> int:
        """Entries of the tokenizer's vocabulary."""
        return self.text_config.vocab_size

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens, the image counting as one."""
        return self.text_config.max_position_embeddings - self.num_patches + 1

    @property
    def vision_layers(self) -> int:
        """Blocks of the image encoder whose output is used."""
        return self.vision_config.num_hidden_layers + self.vision_feature_layer + 1

    @property
    def rows(self) -> tuple[int, int]:
        """(L, D): how many blocks can be chosen, and how wide they are."""
        if self.selectable == "vision":
            return self.vision_layers, self.vision_config.hidden_size
        return self.text_config.num_hidden_layers, self.text_config.hidden_size


def standardise(named: Mapping[str, Any]) -> dict[str, Any]:
    """Gives sizes of a config.json the names that `LlavaConfig` has for them.

    Args:
      named: as transformers 4 or 5 wrote it.

    Returns:
      The same without values that are null, and with the base of rotary positions where version 5
      has it.

    Raises:
      ConfigError: for several feature layers.
    """
    named = {name: value for name, value in named.items() if value is not None}
    if not isinstance(named.get("vision_feature_layer", -2), int):
        given = named["vision_feature_layer"]
        raise ConfigError(f"vision_feature_layer = {given!r}, must be one number")
    text = named.get("text_config")
    if isinstance(text, Mapping):
        text = {name: value for name, value in text.items() if value is not None}
        named["text_config"] = text | {"rope_parameters": sizes.rope(text)}
    return named
