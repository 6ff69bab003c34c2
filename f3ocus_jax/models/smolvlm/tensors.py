"""Tensor mapping of SmolVLM and Idefics3: parameters here and tensors of transformers.

Names are those of published checkpoints, which are those of a running torch model.
"""

from f3ocus_jax.models.blocks.vision import CHANNELS
from f3ocus_jax.models.huggingface import language_tensors, layout, vision_tensors
from f3ocus_jax.models.huggingface.layout import TensorMapping
from f3ocus_jax.models.smolvlm.config import SmolVlmConfig

_VISION, _LANGUAGE, _SCORES = "model.vision_model", "model.text_model", "lm_head"
_CONNECTOR = "model.connector.modality_projection.proj"


def tensors(config: SmolVlmConfig) -> list[TensorMapping]:
    """Returns the tensor mappings of a SmolVLMForConditionalGeneration."""
    image, embeddings = config.vision_config, f"{_VISION}.embeddings"
    scores = "" if config.tie_word_embeddings else _SCORES
    return [
        *layout.patch(
            ("vision_embeddings", "patch"),
            f"{embeddings}.patch_embedding",
            size=image.patch_size,
            channels=CHANNELS,
        ),
        layout.identical(
            ("vision_embeddings", "position"), f"{embeddings}.position_embedding.weight"
        ),
        *vision_tensors.blocks(("vision_blocks",), _VISION, range(image.num_hidden_layers)),
        *layout.norm(("vision_norm", "norm"), f"{_VISION}.post_layernorm"),
        *layout.linear(("connector", "projection"), _CONNECTOR, use_bias=False),
        *language_tensors.llama(config.text_config, _LANGUAGE, scores),
    ]
