"""Sizes of BLIP-2."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blip2.qformer import QFormerConfig
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.encoders import EncodersConfig
from f3ocus_jax.models.spec import Stack

LANGUAGES = {"opt": OptConfig, "t5": T5Config, "llama": LlamaConfig}
"""Sizes of the language models by their `model_type`; the first is the default."""


@dataclasses.dataclass(frozen=True)
class Blip2VisionConfig(VisionConfig):
    """Sizes by their Hugging Face names; the defaults are those of transformers."""

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
class Blip2Config(EncodersConfig):
    """Sizes of a BLIP-2 by their Hugging Face names.

    The defaults are those that transformers has for what a config.json does not name.

    Attributes:
      vision_config: Sizes of the image encoder.
      qformer_config: Sizes of the Q-Former.
      text_config: Sizes of the language model, one of `LANGUAGES`.
      num_query_tokens: Number of tokens that the Q-Former makes of an image.
      image_token_index: Token id that stands for each of these tokens in transformers.
    """

    NAME: ClassVar[str] = "BLIP-2"

    vision_config: Blip2VisionConfig = dataclasses.field(default_factory=Blip2VisionConfig)
    qformer_config: QFormerConfig = dataclasses.field(default_factory=QFormerConfig)
    text_config: OptConfig | T5Config | LlamaConfig = dataclasses.field(
        default_factory=OptConfig, metadata={sizes.KINDS: LANGUAGES}
    )
    num_query_tokens: int = 32
    image_token_index: int = 50265

    def __post_init__(self) -> None:
        sizes.check(self, self.NAME, minimums={"image_token_index": 0})
        if self.num_query_tokens >= self.text_config.max_position_embeddings:
            raise ConfigError(
                f"BLIP-2 num_query_tokens = {self.num_query_tokens}, must be below "
                f"{self.text_config.max_position_embeddings}, the tokens its language model takes"
            )

    @property
    def max_position_embeddings(self) -> int:
        """Longest question, in tokens."""
        return self.text_config.max_position_embeddings - self.num_query_tokens

    @property
    def stacks(self) -> dict[str, Stack]:
        """Blocks of the language model (T5's encoder), groups of the Q-Former, image blocks."""
        text, queries, image = self.text_config, self.qformer_config, self.vision_config
        return {
            "language": Stack("language_blocks", text.num_hidden_layers, text.hidden_size),
            "qformer": Stack("qformer_blocks", queries.groups, queries.hidden_size),
            "vision": Stack("vision_blocks", image.num_hidden_layers, image.hidden_size),
        }


def standardise(named: Mapping[str, Any]) -> dict[str, Any]:
    """Gives sizes of a config.json the names that `Blip2Config` has for them.

    Args:
      named: Values by name, as transformers 4 or 5 writes them.

    Returns:
      The same without null values, and with the settings of Llama and T5 under one name.
    """
    named = sizes.without_nulls(named)
    text = named.get("text_config")
    if isinstance(text, Mapping):
        named["text_config"] = _standardise_text(sizes.without_nulls(text))
    return named


def _standardise_text(text: dict[str, Any]) -> dict[str, Any]:
    if text.get("model_type") == "llama":
        return text | {"rope_parameters": sizes.rope(text)}
    if text.get("model_type") == "t5":
        # Version 5 says of every T5 that it is tied, and keeps what version 4 meant by it here.
        tied = text.get("scale_decoder_outputs", text.get("tie_word_embeddings", True))
        return text | {"tie_word_embeddings": tied}
    return text
