"""What is ALBEF for question answering (Li et al., 2021), and what are its own code's tensors?

The first half of its text encoder reads the question alone, the second half looks at the image.
transformers has no ALBEF, so a directory holds its tensors by the names of the authors' code for
question answering, which can load them.
"""

from collections.abc import Sequence

from f3ocus_jax.models.blip import model as grounded, tensors as grounded_layout
from f3ocus_jax.models.blip.albef_config import AlbefConfig
from f3ocus_jax.models.blip.tensors import VisionNames
from f3ocus_jax.models.family import Family
from f3ocus_jax.models.huggingface.layout import Tensor

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


def tensors(config: AlbefConfig) -> list[Tensor]:
    """Returns every kind of tensor of an ALBEF for question answering."""
    text, layer = config.text_config, f"{TEXT}.encoder.layer"
    first, second = range(config.text_layers), range(config.text_layers, text.num_hidden_layers)
    return [
        *grounded_layout.vision(config.vision_config, VISION_NAMES),
        *grounded_layout.text_embeddings(text, ("text_embeddings",), f"{TEXT}.embeddings"),
        *grounded_layout.blocks(("text_blocks",), layer, first, looks=False),
        *grounded_layout.blocks(("fusion_blocks",), layer, second, looks=True),
        *grounded_layout.decoder(config.decoder_config, DECODER),
    ]


def _rename(names: Sequence[str]) -> dict[str, str]:
    return {name: name for name in names}


FAMILY = Family(
    sizes=AlbefConfig,
    make_model=grounded.make_model,
    stacks=tuple(AlbefConfig.STAGES),
    parts=grounded_layout.parts,
    arrange=grounded_layout.arrange,
    model_type="albef",
    architecture="ALBEF",
    head_prefix="",
    tensors=tensors,
    rename=_rename,
    image_processor=grounded_layout.image_processor,
    positions=grounded_layout.POSITIONS,
    of_vocabulary=grounded_layout.of_vocabulary,
    with_image_size=grounded_layout.with_image_size,
    module=None,
)
