"""ViLT (Kim et al., 2021)."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.models import sizes
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.vilt import model, tensors
from f3ocus_jax.models.vilt.config import STACKS, ViltConfig
from f3ocus_jax.types import Params

PUBLISHED = {
    "vilt_b32": Published(
        settings=sizes.BASE_STACK | {"image_size": 384, "patch_size": 32},
        vocabulary={"vocab_size": 30522},
        answers=3129,  # of the checkpoint that was tuned on VQA v2
        parameters=117_588_537,
    )
}


def _parts(config: ViltConfig, params: Params) -> Params:
    """Returns parameters as they are: there is one stack, so one arrangement."""
    del config
    return params


def _image_processor(config: ViltConfig) -> Mapping[str, Any]:
    return {
        "image_processor_type": "ViltImageProcessor",
        "size": {"shortest_edge": config.image_size},
        "size_divisor": config.patch_size,
    }


def _of_vocabulary(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    del token_id
    return {"vocab_size": entries}


def _with_image_size(config: ViltConfig, image_size: int) -> ViltConfig:
    return dataclasses.replace(config, image_size=image_size)


def _edges(config: ViltConfig) -> tuple[int, int]:
    return config.image_size, config.patch_size


def _tiny(image_size: int) -> dict[str, Any]:
    return sizes.TINY_STACK | sizes.tiny_image(image_size)


FAMILY = Family(
    name="vilt",
    sizes=ViltConfig,
    make_model=model.make_model,
    stacks=STACKS,
    parts=_parts,
    arrange=_parts,
    model_type="vilt",
    architecture="ViltForQuestionAnswering",
    head_prefix=tensors.HEAD,
    tensors=tensors.tensors,
    rename=tensors.rename,
    image_processor=_image_processor,
    positions=(("embeddings", "position"), "bilinear"),
    of_vocabulary=_of_vocabulary,
    with_image_size=_with_image_size,
    edges=_edges,
    answerings=("classify",),
    tiny={"": _tiny},
    published=PUBLISHED,
)
