"""BLIP-2 (Li et al., 2023)."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.data.tokenizer import QUESTION
from f3ocus_jax.models import sizes
from f3ocus_jax.models.blip import tensors as blip_tensors
from f3ocus_jax.models.blip2 import model, tensors
from f3ocus_jax.models.blip2.config import Blip2Config, standardise
from f3ocus_jax.models.family import Family, Published

PROMPT = f"Question: {QUESTION} Answer:"
"""Prompt of BLIP-2 (Li et al., 2023)."""

PUBLISHED = {
    "blip2_opt_2_7b": Published(
        settings={
            "vision_config": {
                "hidden_size": 1408,
                "num_hidden_layers": 39,
                "num_attention_heads": 16,
                "intermediate_size": 6144,
                "image_size": 224,
                "patch_size": 14,
            },
            "qformer_config": dict(sizes.BASE_STACK),
            "text_config": {
                "model_type": "opt",
                "vocab_size": 50272,
                "hidden_size": 2560,
                "num_hidden_layers": 32,
                "num_attention_heads": 32,
                "ffn_dim": 10240,
                "word_embed_proj_dim": 2560,
            },
            "num_query_tokens": 32,
        },
        vocabulary={},
        answers=3128,
        parameters=3_744_679_936,
    )
}

_TINY_STACK = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
_TINY_LANGUAGES = {
    "opt": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "ffn_dim": 64},
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 3, "num_heads": 2},
    "llama": _TINY_STACK | {"num_hidden_layers": 3},
}


def _tiny(language: str, image_size: int) -> dict[str, Any]:
    return {
        "vision_config": _TINY_STACK | sizes.tiny_image(image_size),
        "qformer_config": dict(_TINY_STACK),
        "text_config": _TINY_LANGUAGES[language] | {"model_type": language},
        "num_query_tokens": 4,
    }


def _vocabulary_sizes(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    # The image's token must be one that no question holds; this vocabulary has none for images.
    tokens = {"eos_token_id": token_id("[SEP]"), "pad_token_id": token_id("[PAD]")}
    return {
        "text_config": {"vocab_size": entries, **tokens},
        "image_token_index": token_id("[MASK]"),
    }


def _processor(config: Blip2Config) -> Mapping[str, Any]:
    return {"processor_class": "Blip2Processor", "num_query_tokens": config.num_query_tokens}


FAMILY = Family(
    name="blip2",
    config=Blip2Config,
    make_model=model.make_model,
    tensors=tensors.tensors,
    model_type="blip-2",
    architecture="Blip2ForConditionalGeneration",
    image_processor=blip_tensors.image_processor,
    processor=_processor,
    position_embeddings=blip_tensors.POSITION_EMBEDDINGS,
    vocabulary_sizes=_vocabulary_sizes,
    tiny={name: functools.partial(_tiny, name) for name in _TINY_LANGUAGES},
    published=PUBLISHED,
    layout=model.layout,
    rename=tensors.rename,
    standardise=standardise,
    prompt=PROMPT,
)
