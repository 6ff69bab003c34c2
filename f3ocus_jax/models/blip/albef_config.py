"""How large is an ALBEF, and which sizes are possible?"""

import dataclasses
from typing import ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models.blip.config import GroundedConfig
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import VisionConfig


@dataclasses.dataclass(frozen=True)
class AlbefTextConfig(TextConfig):
    """Sizes of ALBEF's text encoder, with the names and values of its configs/config_bert.json.

    Attributes:
      fusion_layer: the first block that looks at the image.
      type_vocab_size: kinds of text segment; only the first is used.
    """

    vocab_size: int = 30522
    num_attention_heads: int = 12
    bos_token_id: int = 101
    fusion_layer: int = 6
    type_vocab_size: int = 2

    @property
    def token_types(self) -> int:
        """Kinds of text segment that have an embedding, of which only the first is used."""
        return self.type_vocab_size


def _vision() -> VisionConfig:
    return VisionConfig(layer_norm_eps=1e-6)


@dataclasses.dataclass(frozen=True)
class AlbefConfig(GroundedConfig):
    """Sizes of an ALBEF for question answering; the defaults are those of the published one.

    The decoder has as many blocks as the text encoder has fusion blocks.
    """

    NAME = "ALBEF"
    STAGES: ClassVar[dict[str, str]] = {"fusion": "fusion", "text": "text", "vision": "vision"}

    selectable: str = "fusion"
    vision_config: VisionConfig = dataclasses.field(default_factory=_vision)
    text_config: AlbefTextConfig = dataclasses.field(default_factory=AlbefTextConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fusion_layers < 1:
            last = self.text_config.num_hidden_layers - 1
            raise ConfigError(
                f"ALBEF text_config.fusion_layer = {self.text_layers}, must be at most {last}"
            )

    @property
    def text_layers(self) -> int:
        """How many of the text encoder's blocks, the first ones, do not look at the image."""
        return self.text_config.fusion_layer
