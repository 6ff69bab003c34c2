"""How large are the models that were published, by name?

The settings are those of their config.json, as far as they are sizes. `use_published_sizes` of
configs/base.py gives them to a run.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax

from f3ocus_jax.config import choose
from f3ocus_jax.models import FAMILIES, sizes as sizes_lib
from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.sizes import Sizes


@dataclasses.dataclass(frozen=True)
class Published:
    """One published model.

    Attributes:
      family: a key of `FAMILIES`.
      settings: sizes by their Hugging Face names.
      answers: classes of its answer head, or of the one it gets in tables.
      parameters: as torch counts them in transformers' class (ALBEF: in the composite of its
        classes that the tests compare with); an answer head that the class lacks is left out.
    """

    family: str
    settings: Mapping[str, Any]
    answers: int
    parameters: int

    def sizes(self, **own: Any) -> Sizes:
        """Returns the model's sizes; `own` are values of `sizes.OWN`."""
        family = FAMILIES[self.family]
        named = family.standardise(self.settings)
        defaults = {"num_answers": self.answers, "selectable": family.stacks[0]}
        return sizes_lib.build(family.sizes, named, **(defaults | own))


_BERT_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "max_position_embeddings": 512,
}
_VIT_BASE = {
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "image_size": 384,
    "patch_size": 16,
}

PUBLISHED = {
    "albef": Published(
        family="albef",
        settings={
            "vision_config": _VIT_BASE | {"layer_norm_eps": 1e-6},
            "text_config": _BERT_BASE | {"vocab_size": 30522, "fusion_layer": 6},
        },
        answers=3128,  # the list of answers that its authors rank for VQA v2
        parameters=290_336_058,
    ),
    "blip2_opt_2_7b": Published(
        family="blip2",
        settings={
            "vision_config": {
                "hidden_size": 1408,
                "num_hidden_layers": 39,
                "num_attention_heads": 16,
                "intermediate_size": 6144,
                "image_size": 224,
                "patch_size": 14,
            },
            "qformer_config": {
                "hidden_size": 768,
                "num_hidden_layers": 12,
                "num_attention_heads": 12,
                "intermediate_size": 3072,
            },
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
        answers=3128,
        parameters=3_744_679_936,
    ),
    "blip_vqa_base": Published(
        family="blip",
        settings={
            "vision_config": _VIT_BASE,
            "text_config": _BERT_BASE | {"vocab_size": 30524},
        },
        answers=3128,
        parameters=361_230_140,
    ),
    "llava_1_5_7b": Published(
        family="llava",
        settings={
            "image_token_index": 32000,
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
                "vocab_size": 32064,
                "max_position_embeddings": 4096,
                "rms_norm_eps": 1e-5,
            },
        },
        answers=3128,
        parameters=7_063_427_072,
    ),
    "vilt_b32": Published(
        family="vilt",
        settings={
            "vocab_size": 30522,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "max_position_embeddings": 40,
            "image_size": 384,
            "patch_size": 32,
        },
        answers=3129,  # of the checkpoint that was tuned on VQA v2
        parameters=117_588_537,
    ),
}


def find(name: str) -> Published:
    """Returns a published model.

    Raises:
      ConfigError: for an unknown name; lists the choices.
    """
    return choose("model", name, PUBLISHED)


def count(sizes: Sizes) -> int:
    """Counts the parameters of a model as transformers' class has them, by shape alone."""
    family = FAMILIES[type_name(sizes)]
    template = jax.eval_shape(family.make_model(sizes).init, jax.random.key(0))
    shapes = layout.expected_shapes(family.tensors(sizes), family.parts(sizes, template))
    return sum(math.prod(shape) for shape in shapes.values())


def type_name(sizes: Sizes) -> str:
    """Returns the key of the family whose sizes these are."""
    return next(name for name, family in FAMILIES.items() if type(sizes) is family.sizes)
