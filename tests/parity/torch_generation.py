"""What torch's `generate` writes for the tiny models of the other files of this folder."""

from typing import Any

import numpy as np
import torch

from f3ocus_jax.types import Batch
from tests.parity import torch_blip, torch_blip2, torch_llava, torch_smolvlm

PADDING = 1
"""Behind an answer's end; with 0, beam search fills up with the end instead."""


def of_decoder(
    model: Any, batch: Batch, *, start: int, end: int, length: int, beams: int
) -> np.ndarray:
    """Writes with the decoder of a BLIP or an ALBEF; returns ids_BA, padded.

    transformers' own `generate` of a BLIP lets the decoder see the question's padding, which its
    training does not; so the decoder is called by hand, with the mask.
    """
    inputs = torch_blip.tensors(batch)
    with torch.no_grad():
        image = model.vision_model(pixel_values=inputs["pixel_values"]).last_hidden_state
        question = model.text_encoder(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            encoder_hidden_states=image,
            encoder_attention_mask=torch.ones(image.shape[:-1], dtype=torch.long),
        ).last_hidden_state
        written = model.text_decoder.generate(
            input_ids=torch.full((len(question), 1), start),
            encoder_hidden_states=question,
            encoder_attention_mask=inputs["attention_mask"],
            **_settings(end, length, beams),
        )
    return _padded(written[:, 1:], length)


def of_llava(
    case: torch_blip.Case, model: Any, batch: Batch, *, end: int, length: int, beams: int
) -> np.ndarray:
    """Writes with a LLaVA; its questions are padded on the left, as generation needs them."""
    inputs = _padded_left(torch_llava.inputs(case, batch))
    with torch.no_grad():
        written = model.generate(**inputs, **_settings(end, length, beams))
    return _padded(written[:, inputs["input_ids"].shape[1] :], length)


def of_smolvlm(
    case: torch_smolvlm.Case, model: Any, batch: Batch, *, end: int, length: int, beams: int
) -> np.ndarray:
    """Writes with a SmolVLM, as `of_llava` does."""
    inputs = _padded_left(torch_smolvlm.inputs(case, batch))
    with torch.no_grad():
        written = model.generate(**inputs, **_settings(end, length, beams))
    return _padded(written[:, inputs["input_ids"].shape[1] :], length)


def of_blip2(
    case: torch_blip2.Case, model: Any, batch: Batch, *, end: int, length: int, beams: int
) -> np.ndarray:
    """Writes with a BLIP-2; questions are padded on the left, which T5 does not mind."""
    inputs = _padded_left(torch_blip2.inputs(case, batch))
    with torch.no_grad():
        written = model.generate(**inputs, **_settings(end, length, beams))
    is_t5 = case.text["model_type"] == "t5"
    return _padded(written[:, 1 if is_t5 else inputs["input_ids"].shape[1] :], length)


def _settings(end: int, length: int, beams: int) -> dict[str, Any]:
    return {
        "max_new_tokens": length,
        "num_beams": beams,
        "do_sample": False,
        "eos_token_id": end,
        "pad_token_id": PADDING,
    }


def _padded_left(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Moves padding from the right to the left."""
    ids, mask = inputs["input_ids"].clone(), inputs["attention_mask"].clone()
    for row, length in enumerate(mask.sum(1).tolist()):
        ids[row] = torch.roll(ids[row], mask.shape[1] - length)
        mask[row] = torch.roll(mask[row], mask.shape[1] - length)
    return {**inputs, "input_ids": ids, "attention_mask": mask}


def _padded(written: torch.Tensor, length: int) -> np.ndarray:
    padding = length - written.shape[1]
    return np.pad(written.numpy(), ((0, 0), (0, padding)), constant_values=PADDING).astype(np.int32)
