"""Tiny LLaVA models of torch, with our answer head on top: the outside reference for ours."""

from typing import Any

import numpy as np
import torch
import transformers

from f3ocus_jax.types import Batch
from tests.models import image_tokens_oracle
from tests.parity import torch_blip
from tests.parity.torch_blip import Case

CASES = {
    "plain": Case(
        vision={
            "hidden_size": 12,
            "num_hidden_layers": 3,
            "num_attention_heads": 2,
            "intermediate_size": 20,
            "image_size": 16,
            "patch_size": 8,
        },
        text={
            "vocab_size": 40,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 24,
            "max_position_embeddings": 32,
        },
        answers=5,
        examples=3,
        tokens=7,
    ),
}
"""Small enough to be kept as fixtures."""

LARGER_CASES = {
    "deep": Case(
        vision={
            "hidden_size": 32,
            "num_hidden_layers": 5,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 48,
            "patch_size": 8,
            "layer_norm_eps": 1e-6,
        },
        text={
            "vocab_size": 120,
            "hidden_size": 48,
            "num_hidden_layers": 6,
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
    ),
    "biased": Case(
        vision={
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 24,
            "image_size": 24,
            "patch_size": 12,
            "hidden_act": "gelu",
        },
        text={
            "vocab_size": 60,
            "hidden_size": 24,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 10,
            "intermediate_size": 40,
            "max_position_embeddings": 32,
            "attention_bias": True,
            "mlp_bias": True,
        },
        answers=3,
        examples=2,
        tokens=9,
        deviation=0.3,
    ),
}


def random_model(case: Case, seed: int = 0) -> Any:
    """Makes a model all of whose parameters are drawn from one normal distribution."""
    config = transformers.LlavaConfig(
        vision_config=transformers.CLIPVisionConfig(**case.vision),
        text_config=transformers.LlamaConfig(**case.text),
        image_token_index=image_token(case),
        image_seq_length=patches(case),
    )
    model = transformers.LlavaForConditionalGeneration(config).eval()
    model.answer_head = torch_blip.random_head(case)
    torch_blip.randomise(model, case, seed)
    return model


def image_token(case: Case) -> int:
    return case.text["vocab_size"] - 1


def patches(case: Case) -> int:
    return (case.vision["image_size"] // case.vision["patch_size"]) ** 2


def random_batch(case: Case, seed: int = 0) -> Batch:
    """Makes normalised images and questions, each with the image at another place of it."""
    batch = torch_blip.random_batch(case, seed)
    ids_BT = np.where(batch.input_ids_BT == image_token(case), 4, batch.input_ids_BT)
    for example, row_T in enumerate(ids_BT):
        row_T[example % batch.attention_mask_BT[example].sum()] = image_token(case)
    return batch.replace(input_ids_BT=ids_BT)


def inputs(case: Case, batch: Batch) -> dict[str, torch.Tensor]:
    """Returns a batch as torch's model takes it."""
    ids_BT, mask_BT = image_tokens_oracle.expand(batch, image_token(case), patches(case))
    expanded = batch.replace(input_ids_BT=ids_BT, attention_mask_BT=mask_BT)
    return torch_blip.tensors(expanded)


def run(case: Case, model: Any, batch: Batch) -> dict[str, np.ndarray]:
    """Runs model and answer head.

    Args:
      case: of the model.
      model: of `random_model`.
      batch: images and questions.

    Returns:
      hidden_BTD and logits_BTV, 0 at padding, logits_BC, the loss (answer head's plus that of the
      question's own words), and its gradient for every parameter that has one as "gradient.NAME".
    """
    return scored(model, inputs(case, batch), batch.labels_B, image_token(case))


def scored(
    model: Any, given: dict[str, torch.Tensor], labels_B: Any, image: int
) -> dict[str, np.ndarray]:
    """Returns the results of `run` for inputs of a model whose `image` token stands for images."""
    model.zero_grad()
    mask = given["attention_mask"]
    hidden = model.model(**given).last_hidden_state
    scores = model.lm_head(hidden)
    logits = model.answer_head(hidden[torch.arange(len(mask)), mask.sum(1) - 1])
    labels = torch.from_numpy(np.asarray(labels_B)).long()
    targets = torch.nn.functional.one_hot(labels, logits.shape[-1]).float()
    of_head = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    words = given["input_ids"].masked_fill(mask == 0, -100)
    words = words.masked_fill(words == image, -100)
    of_text = torch.nn.functional.cross_entropy(
        scores[:, :-1].flatten(0, 1), words[:, 1:].flatten()
    )
    loss = of_head * logits.shape[-1] + of_text
    loss.backward()
    seen = {"hidden_BTD": hidden * mask[..., None], "logits_BTV": scores * mask[..., None]}
    results = {n: v.detach().numpy().copy() for n, v in (seen | {"logits_BC": logits}).items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            results[f"gradient.{name}"] = parameter.grad.numpy().copy()
    return {**results, "loss": np.array(loss.item(), np.float32)}
