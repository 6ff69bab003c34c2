"""How large is a BLIP-2, and which sizes are possible?"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blip2.qformer import QFormerConfig
from f3ocus_jax.models.blocks import clip
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.blocks.vision import CHANNELS, VisionConfig

STACKS = ("language", "qformer", "vision")
LANGUAGES = {"opt": OptConfig, "t5": T5Config, "llama": LlamaConfig}
"""Sizes of the language models by their `model_type`; the first is what no `model_type` means."""


@dataclasses.dataclass(frozen=True)
class Blip2VisionConfig(VisionConfig):
    """Sizes by their Hugging Face names; the defaults are transformers' for a config.json."""

    model_type: str = "blip_2_vision_model"
    hidden_size: int = 1408
    num_hidden_layers: int = 39
    num_attention_heads: int = 16
    intermediate_size: int = 6144
    layer_norm_eps: float = 1e-6
    image_size: int = 224
    patch_size: int = 14
    qkv_bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = {"model_type": ("blip_2_vision_model",), "qkv_bias": (True,)}
        sizes.check(self, "vision", choices=kinds)


@dataclasses.dataclass(frozen=True)
class Blip2Config:
    """Sizes of a BLIP-2 by their Hugging Face names.

    The defaults are those that transformers takes for what a config.json does not name.

    Attributes:
      num_answers: classes of the answer head; 0 for none.
      adapter_size: bottleneck of the adapter in every selectable block; 0 for none.
      selectable: "language" (blocks of the language model; T5's encoder), "qformer" (groups of
        blocks of the Q-Former) or "vision" (blocks of the image encoder).
      answering: one of `sizes.ANSWERING`.
      image_mean: of the pixels, as `vision.normalise` takes it.
      image_std: of the pixels.
      vision_config: sizes of the image encoder.
      qformer_config: sizes of the Q-Former.
      text_config: sizes of the language model, one of `LANGUAGES`.
      num_query_tokens: tokens that the Q-Former makes of an image.
      image_token_index: the token that stands for each of these in transformers.
    """

    num_answers: int
    adapter_size: int = 0
    selectable: str = STACKS[0]
    answering: str = sizes.CLASSIFY
    image_mean: tuple[float, ...] = clip.MEAN
    image_std: tuple[float, ...] = clip.STD
    vision_config: Blip2VisionConfig = dataclasses.field(default_factory=Blip2VisionConfig)
    qformer_config: QFormerConfig = dataclasses.field(default_factory=QFormerConfig)
    text_config: OptConfig | T5Config | LlamaConfig = dataclasses.field(
        default_factory=OptConfig, metadata={sizes.KINDS: LANGUAGES}
    )
    num_query_tokens: int = 32
    image_token_index: int = 50265

    def __post_init__(self) -> None:
        sizes.check(
            self,
            "BLIP-2",
            minimums={"adapter_size": 0, "num_answers": 0, "image_token_index": 0},
            choices={"selectable": STACKS, "answering": sizes.ANSWERING},
        )
        sizes.check_pixels(self, "BLIP-2", CHANNELS)
        if self.num_query_tokens >= self.text_config.max_position_embeddings:
            raise ConfigError(
                f"BLIP-2 num_query_tokens = {self.num_query_tokens}, must be below "
                f"{self.text_config.max_position_embeddings}, the tokens its language model takes"
            )

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
        return self.text_config.max_position_embeddings - self.num_query_tokens

    @property
    def rows(self) -> tuple[int, int]:
        """(L, D): how many layers can be chosen, and how wide they are."""
        if self.selectable == "vision":
            return self.vision_config.num_hidden_layers, self.vision_config.hidden_size
        if self.selectable == "qformer":
            return self.qformer_config.groups, self.qformer_config.hidden_size
        return self.text_config.num_hidden_layers, self.text_config.hidden_size


def standardise(named: Mapping[str, Any]) -> dict[str, Any]:
    """Gives sizes of a config.json the names that `Blip2Config` has for them.

    Args:
      named: as transformers wrote it.

    Returns:
      The same without values that are null, and with Llama's and T5's peculiarities in one place.
    """
    named = {name: value for name, value in named.items() if value is not None}
    text = named.get("text_config")
    if isinstance(text, Mapping):
        named["text_config"] = _standardise_text(text)
    return named


def _standardise_text(text: Mapping[str, Any]) -> dict[str, Any]:
    text = {name: value for name, value in text.items() if value is not None}
    if text.get("model_type") == "llama":
        return text | {"rope_parameters": sizes.rope(text)}
    if text.get("model_type") == "t5":
        # Version 5 says of every T5 that it is tied, and keeps what version 4 meant by it here.
        tied = text.get("scale_decoder_outputs", text.get("tie_word_embeddings", True))
        return text | {"tie_word_embeddings": tied}
    return text
