"""Tensor mapping of LLaVA: parameters here and tensors of transformers.

Names are those of published checkpoints. Inside a running torch model, and in files of single
versions of transformers, they differ in their prefixes.
"""

import re
from collections.abc import Sequence

from f3ocus_jax.models.blocks.vision import CHANNELS
from f3ocus_jax.models.huggingface import language_tensors, layout, vision_tensors
from f3ocus_jax.models.huggingface.layout import TensorMapping
from f3ocus_jax.models.llava.config import LlavaConfig

_VISION, _LANGUAGE = "vision_tower.vision_model", "language_model.model"
_PROJECTOR = "multi_modal_projector"

_PREFIXES = (
    (r"^model\.(vision_tower|multi_modal_projector)\.", r"\1."),
    (r"^model\.language_model\.", f"{_LANGUAGE}."),
    (r"^lm_head\.", "language_model.lm_head."),
    (r"^vision_tower\.(?!vision_model\.)", f"{_VISION}."),
)
"""Changes of names from those of a running torch model to those of published checkpoints."""

_RUNNING = ((f"{_LANGUAGE}.", "model.language_model."), (f"{_VISION}.", "model.vision_tower."))
"""Changes of blocks' names from those of published checkpoints to a running torch model's."""

_BUFFERS = ("position_ids", "rotary_emb.inv_freq")
"""Constants that older versions of transformers save with the parameters."""


def tensors(config: LlavaConfig) -> list[TensorMapping]:
    """Returns the tensor mappings of a LlavaForConditionalGeneration."""
    depth, used = config.vision_config.num_hidden_layers, config.vision_layers
    use_bias = config.multimodal_projector_bias
    mappings = [
        *_vision_embeddings(config),
        *vision_tensors.blocks(("vision_blocks",), _VISION, range(used)),
        *layout.norm(("vision_unused", "norm"), f"{_VISION}.post_layernorm"),
        *layout.linear(("projector", "first"), f"{_PROJECTOR}.linear_1", use_bias=use_bias),
        *layout.linear(("projector", "second"), f"{_PROJECTOR}.linear_2", use_bias=use_bias),
        *language_tensors.llama(config.text_config),
    ]
    if used < depth:
        mappings += vision_tensors.blocks(("vision_unused", "blocks"), _VISION, range(used, depth))
    return mappings


def _vision_embeddings(config: LlavaConfig) -> list[TensorMapping]:
    names, path = f"{_VISION}.embeddings", ("vision_embeddings",)
    patch = layout.patch(
        (*path, "patch"),
        f"{names}.patch_embedding",
        size=config.vision_config.patch_size,
        channels=CHANNELS,
    )
    return [
        TensorMapping(
            ((*path, "class_token"),),
            f"{names}.class_embedding",
            lambda value: value[0],
            lambda tensor: (tensor[None],),
        ),
        layout.identical((*path, "position"), f"{names}.position_embedding.weight"),
        patch[0],  # without a bias in CLIP
        *layout.norm((*path, "norm"), f"{_VISION}.pre_layrnorm"),  # spelt so by transformers
    ]


def rename(names: Sequence[str]) -> dict[str, str]:
    """Takes the tensors of a published checkpoint, or those of a running torch model."""

    def renamed(name: str) -> str:
        for pattern, replacement in _PREFIXES:
            name = re.sub(pattern, replacement, name)
        return name

    return {name: renamed(name) for name in names if not name.endswith(_BUFFERS)}


def module_name(name: str) -> str:
    """Returns the name that a block's tensor has in a running torch model."""
    for published, running in _RUNNING:
        if name.startswith(published):
            return running + name.removeprefix(published)
    return name
