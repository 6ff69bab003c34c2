"""BLIP (Li et al., 2022); ALBEF (Li et al., 2021) is in `albef`."""

from f3ocus_jax.models import sizes
from f3ocus_jax.models.blip import model, tensors
from f3ocus_jax.models.blip.config import BlipConfig
from f3ocus_jax.models.family import Family, Published

PUBLISHED = {
    "blip_vqa_base": Published(
        settings={
            "vision_config": sizes.BASE_STACK | {"image_size": 384, "patch_size": 16},
            "text_config": dict(sizes.BASE_STACK),
        },
        vocabulary={"text_config": {"vocab_size": 30524}},
        answers=3128,  # the list of answers that ALBEF's authors rank for VQA v2
        parameters=361_230_140,
    )
}

FAMILY = Family(
    name="blip",
    config=BlipConfig,
    make_model=model.make_model,
    tensors=tensors.tensors,
    model_type="blip",
    architecture="BlipForQuestionAnswering",
    image_processor=tensors.image_processor,
    position_embeddings=tensors.POSITION_EMBEDDINGS,
    vocabulary_sizes=tensors.vocabulary_sizes,
    tiny={"": sizes.tiny_encoders},
    published=PUBLISHED,
    layout=model.layout,
    rename=tensors.rename,
)
