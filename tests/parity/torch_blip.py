"""Tiny BLIP models of torch, with our answer head on top: the outside reference for ours."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers

from f3ocus_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class Case:
    """Sizes of one reference model and of what it is asked.

    Attributes:
      vision: sizes of its image encoder, by their Hugging Face names.
      text: sizes of its text encoder and decoder.
      answers: C.
      examples: B.
      tokens: T of the question.
      answer_tokens: T of the text that the decoder is given.
      deviation: of its parameters; large ones leave the range where every GELU looks alike.
    """

    vision: Mapping[str, Any]
    text: Mapping[str, Any]
    answers: int
    examples: int
    tokens: int
    answer_tokens: int = 5
    deviation: float = 0.1


CASES = {
    "plain": Case(
        vision={
            "hidden_size": 16,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 20,
            "image_size": 16,
            "patch_size": 8,
        },
        text={
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 10,
            "bos_token_id": 2,
            "sep_token_id": 3,
        },
        answers=5,
        examples=3,
        tokens=7,
    ),
}
"""Small enough to be kept as fixtures."""

LARGER_CASES = {
    "longest_question": Case(
        vision={
            "hidden_size": 64,
            "num_hidden_layers": 4,
            "num_attention_heads": 8,
            "intermediate_size": 96,
            "image_size": 48,
            "patch_size": 8,
            "layer_norm_eps": 1e-6,
        },
        text={
            "vocab_size": 120,
            "hidden_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "max_position_embeddings": 64,
            "bos_token_id": 101,
            "sep_token_id": 102,
        },
        answers=11,
        examples=4,
        tokens=64,
        answer_tokens=9,
    ),
    "loud": Case(
        vision={
            "hidden_size": 12,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "image_size": 12,
            "patch_size": 4,
            "hidden_act": "relu",
        },
        text={
            "vocab_size": 20,
            "hidden_size": 12,
            "num_hidden_layers": 4,
            "num_attention_heads": 3,
            "intermediate_size": 16,
            "max_position_embeddings": 8,
            "bos_token_id": 2,
            "sep_token_id": 3,
        },
        answers=2,
        examples=5,
        tokens=6,
        deviation=0.4,
    ),
}


def random_model(case: Case, seed: int = 0) -> Any:
    """Makes a model all of whose parameters are drawn from one normal distribution."""
    # transformers warns of special tokens beyond the vocabulary, and its defaults are far beyond.
    eos = {"eos_token_id": case.text["sep_token_id"]}
    config = transformers.BlipConfig(
        vision_config=dict(case.vision), text_config={**case.text, **eos}
    )
    model = transformers.BlipForQuestionAnswering(config).eval()
    model.answer_head = random_head(case)
    randomise(model, case, seed)
    return model


def randomise(model: torch.nn.Module, case: Case, seed: int) -> None:
    """Draws every parameter from one normal distribution: zeros would hide a swap of two."""
    draw = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            values = draw.normal(0, case.deviation, tuple(parameter.shape)).astype(np.float32)
            parameter.copy_(torch.from_numpy(values))


def random_head(case: Case) -> torch.nn.Sequential:
    """Makes an answer head as ViLT has it."""
    width = case.text["hidden_size"]
    return torch.nn.Sequential(
        torch.nn.Linear(width, 2 * width),
        torch.nn.LayerNorm(2 * width),
        torch.nn.GELU(),
        torch.nn.Linear(2 * width, case.answers),
    )


def head_params(head: torch.nn.Sequential) -> dict[str, dict[str, np.ndarray]]:
    """Returns the parameters of a head as ours are named."""
    hidden, norm, _, answers = (
        {name: value.detach().numpy().copy() for name, value in layer.named_parameters()}
        for layer in head
    )
    return {
        "hidden": {"kernel": hidden["weight"].T, "bias": hidden["bias"]},
        "norm": {"scale": norm["weight"], "bias": norm["bias"]},
        "answers": {"kernel": answers["weight"].T, "bias": answers["bias"]},
    }


def random_batch(case: Case, seed: int = 0, image_size: int = 0) -> Batch:
    """Makes normalised images and questions, all but the first of them padded."""
    draw = np.random.default_rng(seed)
    side = image_size or case.vision["image_size"]
    mask_BT = np.ones((case.examples, case.tokens), np.int32)
    for example in range(1, case.examples):
        mask_BT[example, max(1, case.tokens - 2 * example) :] = 0
    ids_BT = draw.integers(4, case.text["vocab_size"], mask_BT.shape).astype(np.int32)
    return Batch(
        images_BHWC=draw.normal(0, 1, (case.examples, side, side, 3)).astype(np.float32),
        input_ids_BT=ids_BT,
        attention_mask_BT=mask_BT,
        labels_B=draw.integers(0, case.answers, case.examples).astype(np.int32),
        example_mask_B=np.ones(case.examples, np.float32),
    )


def random_answers(case: Case, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Makes (ids_BT, mask_BT) of texts for the decoder, all but the first of them padded."""
    draw = np.random.default_rng(seed)
    mask_BT = np.ones((case.examples, case.answer_tokens), np.int32)
    for example in range(1, case.examples):
        mask_BT[example, max(2, case.answer_tokens - example) :] = 0
    ids_BT = draw.integers(4, case.text["vocab_size"], mask_BT.shape).astype(np.int32)
    ids_BT[:, 0] = case.text["bos_token_id"]
    return ids_BT * mask_BT, mask_BT


def tensors(batch: Batch) -> dict[str, torch.Tensor]:
    """Returns a batch as torch's models take it."""
    return {
        "input_ids": torch.from_numpy(np.asarray(batch.input_ids_BT)).long(),
        "attention_mask": torch.from_numpy(np.asarray(batch.attention_mask_BT)).long(),
        "pixel_values": torch.from_numpy(
            np.asarray(batch.images_BHWC).transpose(0, 3, 1, 2).copy()
        ),
    }


def run(model: Any, batch: Batch, answers: tuple[np.ndarray, np.ndarray]) -> dict[str, np.ndarray]:
    """Runs every part by hand, since the model's own forward pass gives no hidden states.

    Args:
      model: of `random_model`.
      batch: images and questions.
      answers: of `random_answers`.

    Returns:
      question_BTD, logits_BC, logits_BTV, the loss (answer head's plus decoder's), and its gradient
      for every parameter as "gradient.NAME".
    """
    model.zero_grad()
    inputs = tensors(batch)
    side = model.config.vision_config.image_size
    image = model.vision_model(
        pixel_values=inputs["pixel_values"],
        interpolate_pos_encoding=batch.images_BHWC.shape[1] != side,
    ).last_hidden_state
    question = model.text_encoder(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        encoder_hidden_states=image,
        encoder_attention_mask=torch.ones(image.shape[:-1], dtype=torch.long),
    ).last_hidden_state
    ids, mask = (torch.from_numpy(part).long() for part in answers)
    decoded = model.text_decoder(
        input_ids=ids,
        attention_mask=mask,
        encoder_hidden_states=question,
        encoder_attention_mask=inputs["attention_mask"],
        labels=ids.masked_fill(mask == 0, -100),
    )
    logits = model.answer_head(question[:, 0])
    labels = torch.from_numpy(np.asarray(batch.labels_B)).long()
    targets = torch.nn.functional.one_hot(labels, logits.shape[-1]).float()
    of_head = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    loss = of_head * logits.shape[-1] + decoded.loss
    loss.backward()
    outputs = {"question_BTD": question, "logits_BC": logits, "logits_BTV": decoded.logits}
    results = {name: value.detach().numpy().copy() for name, value in outputs.items()}
    gradients = {n: p.grad.numpy().copy() for n, p in model.named_parameters()}
    results |= {f"gradient.{name}": value for name, value in gradients.items()}
    return {**results, "loss": np.array(loss.item(), np.float32)}
