"""Tiny SmolVLMs and Idefics3 of torch, with our answer head on top: the reference for ours."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers

from f3ocus_jax.types import Batch
from tests.models import image_tokens_oracle
from tests.parity import torch_blip, torch_llava


@dataclasses.dataclass(frozen=True)
class Case(torch_blip.Case):
    """Sizes of one reference model.

    Attributes:
      scale: side of the square of patches that becomes one token.
      tied: True if the output weights are the word embeddings.
      model_type: "smolvlm" or "idefics3".
    """

    scale: int = 2
    tied: bool = False
    model_type: str = "smolvlm"


CASES = {
    "plain": Case(
        vision={
            "hidden_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 20,
            "image_size": 16,
            "patch_size": 4,
        },
        text={
            "model_type": "llama",
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 32,
            "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
        },
        answers=5,
        examples=3,
        tokens=7,
    ),
}
"""Small enough to be kept as fixtures."""

LARGER_CASES = {
    "tied": dataclasses.replace(CASES["plain"], tied=True, deviation=0.2),
    # As SmolVLM-2.2B, whose patches of 14 pixels do not cover an image of 384.
    "uncovered": Case(
        vision={
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 46,
            "patch_size": 5,
            "layer_norm_eps": 1e-5,
        },
        text={
            "model_type": "llama",
            "vocab_size": 120,
            "hidden_size": 48,
            "num_hidden_layers": 5,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "intermediate_size": 96,
            "max_position_embeddings": 128,
            "rms_norm_eps": 1e-5,
            "rope_parameters": {"rope_theta": 500.0, "rope_type": "default"},
        },
        answers=11,
        examples=4,
        tokens=40,
        scale=3,
        model_type="idefics3",
    ),
}

CLASSES: Mapping[str, tuple[Any, Any]] = {
    "smolvlm": (transformers.SmolVLMConfig, transformers.SmolVLMForConditionalGeneration),
    "idefics3": (transformers.Idefics3Config, transformers.Idefics3ForConditionalGeneration),
}


def random_model(case: Case, seed: int = 0) -> Any:
    """Makes a model all of whose parameters are drawn from one normal distribution."""
    config, model_class = CLASSES[case.model_type]
    text = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, **case.text}
    sizes = config(
        vision_config=dict(case.vision),
        text_config=text,
        image_token_id=image_token(case),
        scale_factor=case.scale,
        tie_word_embeddings=case.tied,
        pad_token_id=0,
    )
    model = model_class(sizes).eval()
    model.answer_head = torch_blip.random_head(case)
    torch_blip.randomise(model, case, seed)
    return model


image_token = torch_llava.image_token
random_batch = torch_llava.random_batch


def image_tokens(case: Case) -> int:
    return (case.vision["image_size"] // case.vision["patch_size"] // case.scale) ** 2


def inputs(case: Case, batch: Batch) -> dict[str, torch.Tensor]:
    """Returns a batch as torch's model takes it, with an axis of images."""
    ids_BT, mask_BT = image_tokens_oracle.expand(batch, image_token(case), image_tokens(case))
    given = torch_blip.tensors(batch.replace(input_ids_BT=ids_BT, attention_mask_BT=mask_BT))
    return {**given, "pixel_values": given["pixel_values"][:, None]}


def run(case: Case, model: Any, batch: Batch) -> dict[str, np.ndarray]:
    """Runs model and answer head; see `torch_llava.run`."""
    return torch_llava.scored(model, inputs(case, batch), batch.labels_B, image_token(case))
