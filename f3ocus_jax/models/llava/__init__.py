"""LLaVA-1.5 (Liu et al., 2023)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.data.tokenizer import IMAGE_TOKEN, QUESTION
from f3ocus_jax.models import sizes
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.llava import model, tensors
from f3ocus_jax.models.llava.config import STACKS, LlavaConfig, standardise
from f3ocus_jax.types import Params

PROMPT = f"USER: {IMAGE_TOKEN}\n{QUESTION} ASSISTANT:"
"""What LLaVA-1.5 was tuned to be asked (Liu et al., 2023)."""

PUBLISHED = {
    "llava_1_5_7b": Published(
        settings={
            "vision_config": {
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "intermediate_size": 4096,
                "image_size": 336,
                "patch_size": 14,
                "projection_dim": 768,
            },
            "text_config": {
                "model_type": "llama",
                "max_position_embeddings": 4096,
                "rms_norm_eps": 1e-5,
            },
        },
        vocabulary={"image_token_index": 32000, "text_config": {"vocab_size": 32064}},
        answers=3128,
        parameters=7_063_427_072,
    )
}


def _parts(config: LlavaConfig, params: Params) -> Params:
    """Returns parameters by what they are, whichever stack is selectable."""
    return model.arrangement(config).parts(params)


def _arrange(config: LlavaConfig, parts: Params) -> Params:
    """Undoes `_parts`."""
    return model.arrangement(config).arrange(parts)


def _of_vocabulary(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    tokens = {"eos_token_id": token_id("[SEP]"), "pad_token_id": token_id("[PAD]")}
    return {
        "text_config": {"vocab_size": entries, **tokens},
        "image_token_index": token_id(IMAGE_TOKEN),
    }


def _image_processor(config: LlavaConfig) -> Mapping[str, Any]:
    size = {"height": config.image_size, "width": config.image_size}
    # CLIP's own default cuts the middle out of an image.
    return {"image_processor_type": "CLIPImageProcessor", "size": size, "do_center_crop": False}


def _with_image_size(config: LlavaConfig, image_size: int) -> LlavaConfig:
    vision_config = dataclasses.replace(config.vision_config, image_size=image_size)
    return dataclasses.replace(config, vision_config=vision_config)


FAMILY = Family(
    name="llava",
    sizes=LlavaConfig,
    make_model=model.make_model,
    stacks=STACKS,
    parts=_parts,
    arrange=_arrange,
    model_type="llava",
    architecture="LlavaForConditionalGeneration",
    head_prefix="",
    tensors=tensors.tensors,
    rename=tensors.rename,
    image_processor=_image_processor,
    positions=(("vision_embeddings", "position"), "bicubic"),
    of_vocabulary=_of_vocabulary,
    with_image_size=_with_image_size,
    standardise=standardise,
    prompt=PROMPT,
    module=tensors.module,
    tiny={"": sizes.tiny_encoders},
    published=PUBLISHED,
)
