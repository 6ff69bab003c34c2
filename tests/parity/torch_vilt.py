"""Tiny ViLT models of torch, the outside reference for ours."""

import dataclasses
from typing import Any

import numpy as np
import torch
import transformers

from f3ocus_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class Case:
    """Sizes of one reference model and of what it is asked.

    Attributes:
      sizes: of the model, by their Hugging Face names.
      answers: C.
      examples: B.
      tokens: T of the question.
      deviation: of its parameters; large ones leave the range where every GELU looks alike.
    """

    sizes: dict[str, Any]
    answers: int
    examples: int
    tokens: int
    deviation: float = 0.1


CASES = {
    "plain": Case(
        sizes={
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 10,
            "image_size": 16,
            "patch_size": 8,
        },
        answers=5,
        examples=3,
        tokens=7,
    ),
    "no_query_bias": Case(
        sizes={
            "vocab_size": 33,
            "hidden_size": 18,
            "num_hidden_layers": 3,
            "num_attention_heads": 3,
            "intermediate_size": 20,
            "max_position_embeddings": 6,
            "image_size": 12,
            "patch_size": 4,
            "qkv_bias": False,
            "hidden_act": "relu",
            "modality_type_vocab_size": 3,
            "layer_norm_eps": 1e-6,
        },
        answers=2,
        examples=4,
        tokens=6,
    ),
    "loud": Case(
        sizes={
            "vocab_size": 20,
            "hidden_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": 5,
            "image_size": 8,
            "patch_size": 4,
        },
        answers=3,
        examples=4,
        tokens=5,
        deviation=0.6,
    ),
}
"""Small enough to be kept as fixtures."""

LARGER_CASES = {
    "wide": Case(
        sizes={
            "vocab_size": 300,
            "hidden_size": 128,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "intermediate_size": 512,
            "image_size": 64,
            "patch_size": 16,
        },
        answers=50,
        examples=5,
        tokens=40,
    ),
    "deep": Case(
        sizes={
            "vocab_size": 100,
            "hidden_size": 32,
            "num_hidden_layers": 12,
            "num_attention_heads": 8,
            "intermediate_size": 64,
            "image_size": 28,
            "patch_size": 4,
        },
        answers=11,
        examples=2,
        tokens=3,
    ),
}


def random_model(
    case: Case, kind: type[Any] = transformers.ViltForQuestionAnswering, seed: int = 0
) -> Any:
    """Makes a model all of whose parameters are drawn from one normal distribution.

    torch starts biases and class tokens at zero, where a swap of two of them would not be seen.
    NumPy draws them, since torch's numbers depend on the processor.
    """
    config = transformers.ViltConfig(**case.sizes, num_labels=case.answers)
    model = kind(config).eval()
    draw = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = draw.normal(0, case.deviation, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))
    return model


def random_batch(case: Case, seed: int = 0) -> Batch:
    """Makes normalised images and questions, all but the first of them padded."""
    draw = np.random.default_rng(seed)
    side = case.sizes["image_size"]
    mask_BT = np.ones((case.examples, case.tokens), np.int32)
    for example in range(1, case.examples):
        mask_BT[example, max(1, case.tokens - 2 * example) :] = 0
    ids_BT = draw.integers(1, case.sizes["vocab_size"], mask_BT.shape).astype(np.int32)
    return Batch(
        images_BHWC=draw.uniform(-1, 1, (case.examples, side, side, 3)).astype(np.float32),
        input_ids_BT=ids_BT,
        attention_mask_BT=mask_BT,
        labels_B=draw.integers(0, case.answers, case.examples).astype(np.int32),
        example_mask_B=np.ones(case.examples, np.float32),
    )


def resized(batch: Batch, side: int, sizes: list[tuple[int, int]]) -> Batch:
    """Gives a batch new images of these heights and widths, each in a corner of a canvas."""
    images_BHWC = np.zeros((len(sizes), side, side, 3), np.float32)
    draw = np.random.default_rng(0)
    for image_HWC, (height, width) in zip(images_BHWC, sizes, strict=True):
        image_HWC[:height, :width] = draw.uniform(-1, 1, (height, width, 3))
    return batch.replace(images_BHWC=images_BHWC, image_size_B2=np.array(sizes, np.int32))


def inputs(batch: Batch) -> dict[str, torch.Tensor]:
    """Returns a batch as torch's models take it."""
    pixels = torch.from_numpy(np.asarray(batch.images_BHWC).transpose(0, 3, 1, 2).copy())
    named = {
        "input_ids": torch.from_numpy(np.asarray(batch.input_ids_BT)).long(),
        "attention_mask": torch.from_numpy(np.asarray(batch.attention_mask_BT)).long(),
        "pixel_values": pixels,
    }
    if batch.image_size_B2 is None:
        return named
    mask = torch.zeros(len(pixels), *pixels.shape[2:], dtype=torch.long)
    for mask_HW, (height, width) in zip(mask, batch.image_size_B2, strict=True):
        mask_HW[:height, :width] = 1
    return {**named, "pixel_mask": mask}


def run(model: Any, batch: Batch) -> tuple[np.ndarray, float, dict[str, np.ndarray]]:
    """Returns a model's logits_BC, its loss, and the loss's gradient for every parameter."""
    model.zero_grad()
    labels = torch.from_numpy(np.asarray(batch.labels_B)).long()
    one_hot = torch.nn.functional.one_hot(labels, model.config.num_labels).float()
    output = model(**inputs(batch), labels=one_hot)
    output.loss.backward()
    gradients = {name: value.grad.numpy().copy() for name, value in model.named_parameters()}
    return output.logits.detach().numpy(), output.loss.item(), gradients
