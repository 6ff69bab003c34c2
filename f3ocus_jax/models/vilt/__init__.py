"""ViLT (Kim et al., 2021)."""

from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.models import sizes
from f3ocus_jax.models.family import Family, Published
from f3ocus_jax.models.spec import CLASSIFY
from f3ocus_jax.models.vilt import model, tensors
from f3ocus_jax.models.vilt.config import ViltConfig

PUBLISHED = {
    "vilt_b32": Published(
        settings=sizes.BASE_STACK | {"image_size": 384, "patch_size": 32},
        vocabulary={"vocab_size": 30522},
        answers=3129,  # classes of the checkpoint that was tuned on VQA v2
        parameters=117_588_537,
    )
}


def _image_processor(config: ViltConfig) -> Mapping[str, Any]:
    return {
        "image_processor_type": "ViltImageProcessor",
        "size": {"shortest_edge": config.image_size},
        "size_divisor": config.patch_size,
    }


def _vocabulary_sizes(entries: int, token_id: Callable[[str], int]) -> Mapping[str, Any]:
    del token_id
    return {"vocab_size": entries}


def _edges(config: ViltConfig) -> tuple[int, int]:
    return config.image_size, config.patch_size


def _tiny(image_size: int) -> dict[str, Any]:
    return sizes.TINY_STACK | sizes.tiny_image(image_size)


FAMILY = Family(
    name="vilt",
    config=ViltConfig,
    make_model=model.make_model,
    tensors=tensors.tensors,
    model_type="vilt",
    architecture="ViltForQuestionAnswering",
    image_processor=_image_processor,
    position_embeddings=(("embeddings", "position"), "bilinear"),
    vocabulary_sizes=_vocabulary_sizes,
    tiny={"": _tiny},
    published=PUBLISHED,
    rename=tensors.rename,
    head_prefix=tensors.HEAD,
    edges=_edges,
    answerings=(CLASSIFY,),
    image_mean=(0.5,),
    image_std=(0.5,),
)
