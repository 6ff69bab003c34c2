"""Tiny models and batches of every family.

The sizes of a tiny model differ wherever they may, so that swapped axes show; a family without such
sizes here is tested with those of its own `tiny`."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from f3ocus_jax import models
from f3ocus_jax.models import FAMILIES, sizes as sizes_lib
from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip.albef import AlbefTextConfig
from f3ocus_jax.models.blip2.config import Blip2VisionConfig
from f3ocus_jax.models.blip2.qformer import QFormerConfig
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.clip import ClipConfig
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.siglip import SiglipConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.encoders import EncodersConfig
from f3ocus_jax.models.spec import ModelSpec, Setup
from f3ocus_jax.types import Batch, Params

SETUP_FIELDS = {field.name for field in dataclasses.fields(Setup)}


def make_spec(name: str, sizes: Mapping[str, Any], changes: Mapping[str, Any]) -> ModelSpec[Any]:
    """A specification of five answers and adapters of width 4; changes are of sizes or setup."""
    values = {**sizes, **changes}
    setup = {field: values.pop(field) for field in SETUP_FIELDS & values.keys()}
    family = FAMILIES[name]
    return family.spec(family.config(**values), **({"num_answers": 5, "adapter_size": 4} | setup))


def tiny_vilt(**changes: Any) -> ModelSpec[Any]:
    """A ViLT of a few thousand parameters."""
    sizes = {
        "vocab_size": 40,
        "max_position_embeddings": 12,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "image_size": 16,
        "patch_size": 8,
    }
    return make_spec("vilt", sizes, changes)


def tiny_blip(**changes: Any) -> ModelSpec[Any]:
    """A BLIP whose image and text stacks differ in every size but their width."""
    image = VisionConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=20,
        image_size=16,
        patch_size=8,
    )
    text = TextConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        bos_token_id=2,
        sep_token_id=3,
    )
    sizes = {"vision_config": image, "text_config": text}
    return make_spec("blip", sizes, changes)


def tiny_albef(**changes: Any) -> ModelSpec[Any]:
    """An ALBEF all of whose stacks differ in every size that may differ."""
    image = VisionConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        image_size=16,
        patch_size=8,
        layer_norm_eps=1e-6,
    )
    text = AlbefTextConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=5,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=12,
        bos_token_id=2,
        sep_token_id=3,
        fusion_layer=2,
    )
    sizes = {"vision_config": image, "text_config": text}
    return make_spec("albef", sizes, changes)


def tiny_llava(**changes: Any) -> ModelSpec[Any]:
    """A LLaVA with grouped queries, whose stacks differ in every size."""
    image = ClipConfig(
        hidden_size=12,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=20,
        image_size=16,
        patch_size=8,
    )
    text = LlamaConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=24,
        max_position_embeddings=15,
    )
    sizes = {"vision_config": image, "text_config": text}
    return make_spec("llava", {**sizes, "image_token_index": 39}, changes)


def tiny_smolvlm(**changes: Any) -> ModelSpec[Any]:
    """A SmolVLM of four image tokens, whose stacks differ in every size."""
    image = SiglipConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=20,
        image_size=16,
        patch_size=4,
    )
    text = tiny_llava().config.text_config
    sizes = {"vision_config": image, "text_config": text, "image_token_id": 39}
    return make_spec("smolvlm", sizes, changes)


TINY_LANGUAGES = {
    "opt": OptConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        ffn_dim=24,
        max_position_embeddings=15,
    ),
    "t5": T5Config(
        vocab_size=40,
        d_model=16,
        d_kv=6,
        d_ff=24,
        num_layers=3,
        num_decoder_layers=2,
        num_heads=2,
        relative_attention_num_buckets=8,
        relative_attention_max_distance=12,
        feed_forward_proj="gated-gelu",
        n_positions=15,
    ),
    "llama": tiny_llava().config.text_config,
}
"""Language models of BLIP-2."""


def tiny_blip2(language: str = "opt", **changes: Any) -> ModelSpec[Any]:
    """A BLIP-2 whose Q-Former looks at the image in every other block."""
    image = Blip2VisionConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        image_size=16,
        patch_size=8,
    )
    queries = QFormerConfig(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=20,
    )
    sizes = {
        "vision_config": image,
        "qformer_config": queries,
        "text_config": TINY_LANGUAGES[language],
        "num_query_tokens": 3,
        "image_token_index": 39,
    }
    return make_spec("blip2", sizes, changes)


def tiny_own(name: str, **setup: Any) -> ModelSpec[Any]:
    """The tiny model of `models.TINY` by that name, with a vocabulary of 40 tokens."""
    family, variant = FAMILIES[models.TINY[name][0]], models.TINY[name][1]
    tokens = family.vocabulary_sizes(40, lambda token: 39 if token.startswith("<") else 3)
    named = sizes_lib.merged(tokens, family.tiny[variant](16))
    config = sizes_lib.build(family.config, named)
    return family.spec(config, **({"num_answers": 5, "adapter_size": 4} | setup))


ODD_SIZES = {
    "albef": tiny_albef,
    "blip": tiny_blip,
    "llava": tiny_llava,
    "smolvlm": tiny_smolvlm,
    "vilt": tiny_vilt,
} | {f"blip2_{name}": functools.partial(tiny_blip2, name) for name in TINY_LANGUAGES}
TINY = {name: ODD_SIZES.get(name, functools.partial(tiny_own, name)) for name in models.TINY}
"""Name of a tiny model to a function of its setup: one for every family and language model."""


def first_tiny(family: str) -> Callable[..., ModelSpec[Any]]:
    """The first tiny model of a family, as a function of its setup."""
    return next(make for name, make in TINY.items() if models.TINY[name][0] == family)


def with_vocabulary(spec: ModelSpec[Any], entries: int) -> ModelSpec[Any]:
    """The same model for a tokenizer of so many entries."""
    config = spec.config
    if isinstance(config, EncodersConfig):
        text = dataclasses.replace(config.text_config, vocab_size=entries)
        return dataclasses.replace(spec, config=dataclasses.replace(config, text_config=text))
    return dataclasses.replace(spec, config=dataclasses.replace(config, vocab_size=entries))


def tiny_batch(spec: ModelSpec[Any], examples: int = 3, tokens: int = 7, seed: int = 0) -> Batch:
    """Random images and questions; every question but the first has padding."""
    draw = np.random.default_rng(seed)
    shape = (examples, spec.config.image_size, spec.config.image_size, 3)
    mask_BT = np.ones((examples, tokens), np.int32)
    for example in range(1, examples):
        mask_BT[example, max(1, tokens - 2 * example) :] = 0
    return Batch(
        images_BHWC=draw.integers(0, 256, shape).astype(np.uint8),
        input_ids_BT=draw.integers(1, spec.config.vocab_size, (examples, tokens)).astype(np.int32),
        attention_mask_BT=mask_BT,
        labels_B=draw.integers(0, spec.setup.num_answers, examples).astype(np.int32),
        example_mask_B=np.ones(examples, np.float32),
    )


def random_params(model: Model, seed: int = 0) -> Params:
    """Parameters drawn from normal(0, 0.2): fresh ones hold zeros, which hide mistakes."""
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: draw.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)
