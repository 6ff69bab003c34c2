"""SmolVLM (Marafioti et al., 2025) and Idefics3 (Laurençon et al., 2024)."""

from collections.abc import Mapping
from typing import Any

from f3ocus_jax.data.tokenizer import IMAGE_TOKEN, QUESTION
from f3ocus_jax.models import image_tokens, sizes
from f3ocus_jax.models.blocks import siglip
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.smolvlm import model, tensors
from f3ocus_jax.models.smolvlm.config import BASE_VISION, SmolVlmConfig, standardise

_EDGE = "<fake_token_around_image>"
PROMPT = f"User:{_EDGE}<global-img>{IMAGE_TOKEN}{_EDGE}{QUESTION}<end_of_utterance>\nAssistant:"
"""Prompt of SmolVLM for one image that is not split, behind `<|im_start|>`."""


def _published(
    vision: Mapping[str, Any],
    text: Mapping[str, Any],
    *,
    rope_theta: float,
    scale_factor: int,
    parameters: int,
) -> Published:
    """Returns a published size, whose decoder is a SmolLM2."""
    rope = {"rope_type": "default", "rope_theta": rope_theta}
    common = {"model_type": "llama", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5}
    return Published(
        settings={
            "vision_config": vision,
            "text_config": {**common, **text, "rope_parameters": rope},
            "scale_factor": scale_factor,
        },
        vocabulary={"image_token_id": 49190, "text_config": {"vocab_size": 49280}},
        answers=3128,
        parameters=parameters,
        question_length=64,
    )


PUBLISHED = {
    "smolvlm_256m": _published(
        BASE_VISION,
        {
            "hidden_size": 576,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "intermediate_size": 1536,
        },
        rope_theta=100_000.0,
        scale_factor=4,
        parameters=256_484_928,
    ),
    "smolvlm_500m": _published(
        BASE_VISION,
        {
            "hidden_size": 960,
            "num_hidden_layers": 32,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "intermediate_size": 2560,
        },
        rope_theta=100_000.0,
        scale_factor=4,
        parameters=507_482_304,
    ),
    "smolvlm2_2_2b": _published(
        {
            "hidden_size": 1152,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "intermediate_size": 4304,
            "image_size": 384,
            "patch_size": 14,
        },
        {
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_attention_heads": 32,
            "num_key_value_heads": 32,
            "intermediate_size": 8192,
        },
        rope_theta=130_000.0,
        scale_factor=3,
        parameters=2_246_784_880,
    ),
}


def _image_processor(config: SmolVlmConfig) -> Mapping[str, Any]:
    kind = "Idefics3ImageProcessor" if config.model_type == "idefics3" else "SmolVLMImageProcessor"
    side = config.image_size
    return {
        "image_processor_type": kind,
        # Not the longest edge, by which an image would be resized twice.
        "size": {"height": side, "width": side},
        "max_image_size": {"longest_edge": side},
        "do_image_splitting": False,
        "do_pad": True,
    }


def _processor(config: SmolVlmConfig) -> Mapping[str, Any]:
    kind = "Idefics3Processor" if config.model_type == "idefics3" else "SmolVLMProcessor"
    return {"processor_class": kind, "image_seq_len": config.image_tokens}


FAMILY = Family(
    name="smolvlm",
    config=SmolVlmConfig,
    make_model=model.make_model,
    tensors=tensors.tensors,
    model_type="smolvlm",
    architecture="SmolVLMForConditionalGeneration",
    further_types={"idefics3": "Idefics3ForConditionalGeneration"},
    image_processor=_image_processor,
    processor=_processor,
    position_embeddings=(("vision_embeddings", "position"), "bicubic"),
    vocabulary_sizes=image_tokens.make_vocabulary_sizes("image_token_id"),
    tiny={"": sizes.tiny_encoders},
    published=PUBLISHED,
    layout=model.layout,
    standardise=standardise,
    prompt=PROMPT,
    image_mean=siglip.MEAN,
    image_std=siglip.STD,
)
