"""LLaVA-1.5 (Liu et al., 2023)."""

from collections.abc import Mapping
from typing import Any

from f3ocus_jax.data.tokenizer import IMAGE_TOKEN, QUESTION
from f3ocus_jax.models import image_tokens, sizes
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.llava import model, tensors
from f3ocus_jax.models.llava.config import LARGE_VISION, LlavaConfig, standardise

PROMPT = f"USER: {IMAGE_TOKEN}\n{QUESTION} ASSISTANT:"
"""Prompt of LLaVA-1.5 (Liu et al., 2023)."""

PUBLISHED = {
    "llava_1_5_7b": Published(
        settings={
            "vision_config": LARGE_VISION,
            "text_config": {
                "model_type": "llama",
                "max_position_embeddings": 4096,
                "rms_norm_eps": 1e-5,
            },
        },
        vocabulary={"image_token_index": 32000, "text_config": {"vocab_size": 32064}},
        answers=3128,
        parameters=7_063_427_072,
        question_length=64,
    )
}


def _image_processor(config: LlavaConfig) -> Mapping[str, Any]:
    size = {"height": config.image_size, "width": config.image_size}
    # CLIP's default crops the centre of an image.
    return {"image_processor_type": "CLIPImageProcessor", "size": size, "do_center_crop": False}


def _processor(config: LlavaConfig) -> Mapping[str, Any]:
    return {
        "processor_class": "LlavaProcessor",
        "image_token": IMAGE_TOKEN,
        "num_additional_image_tokens": 1,  # the class token, which the strategy drops
        "patch_size": config.vision_config.patch_size,
        "vision_feature_select_strategy": config.vision_feature_select_strategy,
    }


FAMILY = Family(
    name="llava",
    config=LlavaConfig,
    make_model=model.make_model,
    tensors=tensors.tensors,
    model_type="llava",
    architecture="LlavaForConditionalGeneration",
    image_processor=_image_processor,
    processor=_processor,
    position_embeddings=(("vision_embeddings", "position"), "bicubic"),
    vocabulary_sizes=image_tokens.make_vocabulary_sizes("image_token_index"),
    tiny={"": sizes.tiny_encoders},
    published=PUBLISHED,
    layout=model.layout,
    rename=tensors.rename,
    standardise=standardise,
    prompt=PROMPT,
    module_name=tensors.module_name,
)
