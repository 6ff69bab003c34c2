"""What is BLIP for question answering (Li et al., 2022), and which Hugging Face tensor is which?

Its text encoder looks at the image in every block, and its decoder has the same sizes.
"""

import functools
from collections.abc import Sequence

from f3ocus_jax.models import grounded, grounded_layout
from f3ocus_jax.models.blip_config import STACKS, BlipConfig
from f3ocus_jax.models.family import Family
from f3ocus_jax.models.layout import Tensor

UNUSED = (
    "text_encoder.embeddings.position_ids",
    "text_decoder.bert.embeddings.position_ids",
    "text_decoder.cls.predictions.decoder.",
)
"""Constants, and copies of the decoder's word embeddings and bias, that some files hold."""

create = functools.partial(grounded.create, name="BLIP")


def tensors(config: BlipConfig) -> list[Tensor]:
    """Returns every kind of tensor of a BlipForQuestionAnswering."""
    layers = range(config.text_config.num_hidden_layers)
    return [
        *grounded_layout.vision(config.vision_config, "vision_model"),
        *grounded_layout.text_embeddings(("text_embeddings",), "text_encoder.embeddings"),
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
    create=create,
    stacks=STACKS,
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
