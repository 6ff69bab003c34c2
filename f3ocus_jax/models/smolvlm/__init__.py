"""SmolVLM (Marafioti et al., 2025) and Idefics3 (Laurençon et al., 2024)."""

from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.data.tokenizer import IMAGE_TOKEN, QUESTION
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blocks import siglip
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.smolvlm import model, tensors
from f3ocus_jax.models.smolvlm.config import BASE_VISION, SmolVlmConfig, standardise

_EDGE = "<fake_token_around_image>"
PROMPT = f"User:{_EDGE}<global-img>{IMAGE_TOKEN}{_EDGE}{QUESTION}<end_of_utterance>\nAssistant:"
"""Prompt of SmolVLM for one image that is not split, behind `<|im_start|>`."""

_SMOLLM = {"model_type": "llama", "max_position_embeddings": 8192, "rms_norm_eps": 1e-5}
_ROPE = {"rope_type": "default"}
_VOCABULARY = {"image_token_id": 49190, "text_config": {"vocab_size": 49280}}

PUBLISHED = {
    "smolvlm_256m": Published(
        settings={
            "vision_config": BASE_VISION,
            "text_config": {
                **_SMOLLM,
                "hidden_size": 576,
                "num_hidden_layers": 30,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "intermediate_size": 1536,
                "rope_parameters": {**_ROPE, "rope_theta": 100_000.0},
            },
            "scale_factor": 4,
        },
        vocabulary=_VOCABULARY,
        answers=3128,
        parameters=256_484_928,
        question_length=64,
    ),
    "smolvlm_500m": Published(
        settings={
            "vision_config": BASE_VISION,
            "text_config": {
                **_SMOLLM,
                "hidden_size": 960,
                "num_hidden_layers": 32,
                "num_attention_heads": 15,
                "num_key_value_heads": 5,
                "intermediate_size": 2560,
                "rope_parameters": {**_ROPE, "rope_theta": 100_000.0},
            },
            "scale_factor": 4,
        },
        vocabulary=_VOCABULARY,
        answers=3128,
        parameters=507_482_304,
        question_length=64,
    ),
    "smolvlm2_2_2b": Published(
        settings={
            "vision_config": {
                "hidden_size": 1152,
                "num_hidden_layers": 27,
                "num_attention_heads": 16,
                "intermediate_size": 4304,
                "image_size": 384,
                "patch_size": 14,
            },
            "text_config": {
                **_SMOLLM,
                "hidden_size": 2048,
                "num_hidden_layers": 24,
                "num_attention_heads": 32,
                "num_key_value_heads": 32,
                "intermediate_size": 8192,
                "rope_parameters": {**_ROPE, "rope_theta": 130_000.0},
            },
            "scale_factor": 3,
        },
        vocabulary=_VOCABULARY,
        answers=3128,
        parameters=2_246_784_880,
        question_length=64,
    ),
}


def _vocabulary_sizes(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    tokens = {"eos_token_id": token_id("[SEP]"), "pad_token_id": token_id("[PAD]")}
    return {
        "text_config": {"vocab_size": entries, **tokens},
        "image_token_id": token_id(IMAGE_TOKEN),
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
    vocabulary_sizes=_vocabulary_sizes,
    tiny={"": sizes.tiny_encoders},
    published=PUBLISHED,
    layout=model.layout,
    standardise=standardise,
    prompt=PROMPT,
    image_mean=siglip.MEAN,
    image_std=siglip.STD,
)
