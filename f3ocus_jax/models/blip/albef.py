"""ALBEF for question answering (Li et al., 2021): its sizes and tensor mapping.

The first half of its text encoder reads the question alone, the second half attends to the image.
transformers has no ALBEF: a directory holds its tensors by the names of the authors' code for
question answering, which can load them.
"""

import dataclasses
from typing import Any, ClassVar

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blip import model, tensors as blip_tensors
from f3ocus_jax.models.blip.config import FusionConfig
from f3ocus_jax.models.blip.tensors import VisionNames
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.huggingface.layout import TensorMapping
from f3ocus_jax.models.spec import Stack

_BLOCK = "visual_encoder.blocks.{layer}"
VISION_NAMES = VisionNames(
    class_token="visual_encoder.cls_token",
    position="visual_encoder.pos_embed",
    patch="visual_encoder.patch_embed.proj",
    attention_norm=f"{_BLOCK}.norm1",
    query_key_value=f"{_BLOCK}.attn.qkv",
    attention_output=f"{_BLOCK}.attn.proj",
    feed_forward_norm=f"{_BLOCK}.norm2",
    intermediate=f"{_BLOCK}.mlp.fc1",
    output=f"{_BLOCK}.mlp.fc2",
    final_norm="visual_encoder.norm",
)
TEXT = "text_encoder"
DECODER = "text_decoder"


@dataclasses.dataclass(frozen=True)
class AlbefTextConfig(TextConfig):
    """Sizes of ALBEF's text encoder, with the names and values of its configs/config_bert.json.

    Attributes:
      fusion_layer: Index of the first block that attends to the image.
      type_vocab_size: Number of text segment types; only the first is used.
    """

    vocab_size: int = 30522
    num_attention_heads: int = 12
    bos_token_id: int = 101
    fusion_layer: int = 6
    type_vocab_size: int = 2

    @property
    def token_types(self) -> int:
        """Number of text segment types that have an embedding; only the first is used."""
        return self.type_vocab_size


def _vision() -> VisionConfig:
    return VisionConfig(layer_norm_eps=1e-6)


@dataclasses.dataclass(frozen=True)
class AlbefConfig(FusionConfig):
    """Sizes of an ALBEF for question answering; the defaults are those of the published one.

    The decoder has as many blocks as the text encoder has fusion blocks.
    """

    NAME: ClassVar[str] = "ALBEF"

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
        """Number of text blocks, the first ones, that do not attend to the image."""
        return self.text_config.fusion_layer

    @property
    def stacks(self) -> dict[str, Stack]:
        """Stacks that can be selectable."""
        return {"fusion": self.fusion_stack, "text": self.text_stack, "vision": self.vision_stack}


def tensors(config: AlbefConfig) -> list[TensorMapping]:
    """Returns the tensor mappings of an ALBEF for question answering."""
    text, layer = config.text_config, f"{TEXT}.encoder.layer"
    first, second = range(config.text_layers), range(config.text_layers, text.num_hidden_layers)
    return [
        *blip_tensors.vision(config.vision_config, VISION_NAMES),
        *blip_tensors.text_embeddings(text, ("text_embeddings",), f"{TEXT}.embeddings"),
        *blip_tensors.blocks(("text_blocks",), layer, first, cross_attention=False),
        *blip_tensors.blocks(("fusion_blocks",), layer, second, cross_attention=True),
        *blip_tensors.decoder(config.decoder_config, DECODER),
    ]


PUBLISHED = {
    "albef": Published(
        settings={
            "vision_config": sizes.BASE_STACK
            | {"image_size": 384, "patch_size": 16, "layer_norm_eps": 1e-6},
            "text_config": sizes.BASE_STACK | {"fusion_layer": 6},
        },
        vocabulary={"text_config": {"vocab_size": 30522}},
        answers=3128,  # the list of answers that its authors rank for VQA v2
        parameters=290_336_058,
    )
}


def _tiny(image_size: int) -> dict[str, Any]:
    tiny = sizes.tiny_encoders(image_size)
    tiny["text_config"]["fusion_layer"] = sizes.TINY_STACK["num_hidden_layers"] // 2
    return tiny


FAMILY = Family(
    name="albef",
    config=AlbefConfig,
    make_model=model.make_model,
    tensors=tensors,
    model_type="albef",
    architecture="ALBEF",
    image_processor=blip_tensors.image_processor,
    position_embeddings=blip_tensors.POSITION_EMBEDDINGS,
    vocabulary_sizes=blip_tensors.vocabulary_sizes,
    tiny={"": _tiny},
    published=PUBLISHED,
    layout=model.layout,
    module_name=None,
)
