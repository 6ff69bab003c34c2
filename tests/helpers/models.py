"""Tiny models and batches for the tests of this folder."""

from typing import Any

import jax
import numpy as np

from f3ocus_jax.models.base import Model
from f3ocus_jax.models.blip.albef import AlbefConfig, AlbefTextConfig
from f3ocus_jax.models.blip.config import BlipConfig
from f3ocus_jax.models.blip2.config import Blip2Config, Blip2VisionConfig
from f3ocus_jax.models.blip2.qformer import QFormerConfig
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.clip import ClipConfig
from f3ocus_jax.models.blocks.llama_config import LlamaConfig
from f3ocus_jax.models.blocks.opt import OptConfig
from f3ocus_jax.models.blocks.t5_config import T5Config
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.llava.config import LlavaConfig
from f3ocus_jax.models.vilt.config import ViltConfig
from f3ocus_jax.types import Batch, Params


def tiny_vilt(**changes: Any) -> ViltConfig:
    """A ViLT of a few thousand parameters."""
    sizes = {
        "num_answers": 5,
        "adapter_size": 4,
        "vocab_size": 40,
        "max_position_embeddings": 12,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "image_size": 16,
        "patch_size": 8,
    }
    return ViltConfig(**{**sizes, **changes})


def tiny_blip(**changes: Any) -> BlipConfig:
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
    sizes = {"num_answers": 5, "adapter_size": 4, "vision_config": image, "text_config": text}
    return BlipConfig(**{**sizes, **changes})


def tiny_albef(**changes: Any) -> AlbefConfig:
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
    sizes = {"num_answers": 5, "adapter_size": 4, "vision_config": image, "text_config": text}
    return AlbefConfig(**{**sizes, **changes})


def tiny_llava(**changes: Any) -> LlavaConfig:
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
    sizes = {"num_answers": 5, "adapter_size": 4, "vision_config": image, "text_config": text}
    return LlavaConfig(**{**sizes, "image_token_index": 39, **changes})


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
    "llama": tiny_llava().text_config,
}
"""Language models of BLIP-2."""


def tiny_blip2(language: str = "opt", **changes: Any) -> Blip2Config:
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
        "num_answers": 5,
        "adapter_size": 4,
        "vision_config": image,
        "qformer_config": queries,
        "text_config": TINY_LANGUAGES[language],
        "num_query_tokens": 3,
        "image_token_index": 39,
    }
    return Blip2Config(**{**sizes, **changes})


def tiny_batch(config: Any, examples: int = 3, tokens: int = 7, seed: int = 0) -> Batch:
    """Random images and questions; every question but the first has padding."""
    draw = np.random.default_rng(seed)
    shape = (examples, config.image_size, config.image_size, 3)
    mask_BT = np.ones((examples, tokens), np.int32)
    for example in range(1, examples):
        mask_BT[example, max(1, tokens - 2 * example) :] = 0
    return Batch(
        images_BHWC=draw.integers(0, 256, shape).astype(np.uint8),
        input_ids_BT=draw.integers(1, config.vocab_size, (examples, tokens)).astype(np.int32),
        attention_mask_BT=mask_BT,
        labels_B=draw.integers(0, config.num_answers, examples).astype(np.int32),
        example_mask_B=np.ones(examples, np.float32),
    )


def random_params(model: Model, seed: int = 0) -> Params:
    """Parameters drawn from normal(0, 0.2): fresh ones hold zeros, which hide mistakes."""
    draw = np.random.default_rng(seed)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda leaf: draw.normal(0, 0.2, leaf.shape).astype(np.float32), shapes)
