"""What is BLIP for question answering (Li et al., 2022), and which Hugging Face tensor is which?

Its text encoder looks at the image in every block, and its decoder has the same sizes.
"""

from collections.abc import Sequence

from f3ocus_jax.models.blip import model as grounded, tensors as grounded_layout
from f3ocus_jax.models.blip.blip_config import BlipConfig
from f3ocus_jax.models.blip.tensors import VisionNames
from f3ocus_jax.models.family import Family
from f3ocus_jax.models.huggingface.layout import Tensor

UNUSED = (
    "text_encoder.embeddings.position_ids",
    "text_decoder.bert.embeddings.position_ids",
    "text_decoder.cls.predictions.decoder.",
)
"""Constants, and copies of the decoder's word embeddings and bias, that some files hold."""

_VISION, _BLOCK = "vision_model", "vision_model.encoder.layers.{layer}"
VISION_NAMES = VisionNames(
    class_token=f"{_VISION}.embeddings.class_embedding",
    position=f"{_VISION}.embeddings.position_embedding",
    patch=f"{_VISION}.embeddings.patch_embedding",
    attention_norm=f"{_BLOCK}.layer_norm1",
    query_key_value=f"{_BLOCK}.self_attn.qkv",
    attention_output=f"{_BLOCK}.self_attn.projection",
    feed_forward_norm=f"{_BLOCK}.layer_norm2",
    intermediate=f"{_BLOCK}.mlp.fc1",
    output=f"{_BLOCK}.mlp.fc2",
    final_norm=f"{_VISION}.post_layernorm",
)


def tensors(config: BlipConfig) -> list[Tensor]:
    """Returns every kind of tensor of a BlipForQuestionAnswering."""
    text = config.text_config
    layers, embeddings = range(text.num_hidden_layers), ("text_embeddings",)
    return [
        *grounded_layout.vision(config.vision_config, VISION_NAMES),
        *grounded_layout.text_embeddings(text, embeddings, "text_encoder.embeddings"),
        *grounded_layout.blocks(
            ("fusion_blocks",), "text_encoder.encoder.layer", layers, looks=True
        ),
        *grounded_layout.decoder(config.decoder_config, "text_decoder"),
    ]


def _rename(names: Sequence[str]) -> dict[str, str]:
    """Takes the tensors of a BlipForQuestionAnswering."""
    return {name: name for name in names if not name.startswith(UNUSED)}


FAMILY = Family(
    sizes=BlipConfig,
    make_model=grounded.make_model,
    stacks=tuple(BlipConfig.STAGES),
    parts=grounded_layout.parts,
    arrange=grounded_layout.arrange,
    model_type="blip",
    architecture="BlipForQuestionAnswering",
    head_prefix="",
    tensors=tensors,
    rename=_rename,
    image_processor=grounded_layout.image_processor,
    positions=grounded_layout.POSITIONS,
    of_vocabulary=grounded_layout.of_vocabulary,
    with_image_size=grounded_layout.with_image_size,
)
