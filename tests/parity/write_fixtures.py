"""python -m tests.parity.write_fixtures: writes what torch gives, for tests that have no torch."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from f3ocus_jax.models.huggingface import directory as huggingface, extra_files
from f3ocus_jax.types import Batch
from tests.helpers.paths import MODEL_FIXTURES
from tests.parity import torch_blip, torch_blip2, torch_llava, torch_smolvlm, torch_vilt

FIXTURES = MODEL_FIXTURES

VILT_GRADIENTS = (
    "vilt.embeddings.text_embeddings.word_embeddings.weight",
    "vilt.embeddings.position_embeddings",
    "vilt.encoder.layer.0.attention.attention.key.weight",
    "vilt.encoder.layer.1.layernorm_before.weight",
    "vilt.encoder.layer.1.output.dense.bias",
    "classifier.3.weight",
)
"""A few parameters from the bottom to the top; `make parity` compares all of them."""

BLIP_GRADIENTS = (
    "vision_model.embeddings.position_embedding",
    "vision_model.encoder.layers.0.self_attn.qkv.weight",
    "text_encoder.embeddings.word_embeddings.weight",
    "text_encoder.encoder.layer.0.crossattention.self.key.weight",
    "text_encoder.encoder.layer.1.output.LayerNorm.bias",
    "text_decoder.bert.embeddings.word_embeddings.weight",
    "answer_head.3.weight",
)

LLAVA_GRADIENTS = (
    "model.vision_tower.embeddings.position_embedding.weight",
    "model.vision_tower.encoder.layers.1.self_attn.q_proj.weight",
    "model.multi_modal_projector.linear_1.bias",
    "model.language_model.embed_tokens.weight",
    "model.language_model.layers.0.self_attn.k_proj.weight",
    "model.language_model.layers.1.mlp.gate_proj.weight",
    "model.language_model.norm.weight",
)

SMOLVLM_GRADIENTS = (
    "model.vision_model.embeddings.position_embedding.weight",
    "model.vision_model.encoder.layers.1.self_attn.q_proj.weight",
    "model.vision_model.post_layernorm.weight",
    "model.connector.modality_projection.proj.weight",
    "model.text_model.embed_tokens.weight",
    "model.text_model.layers.0.self_attn.k_proj.weight",
    "lm_head.weight",
)


def expected_vilt(case: torch_vilt.Case) -> dict[str, np.ndarray]:
    """Returns a case's inputs, logits and gradients by name."""
    batch = torch_vilt.random_batch(case)
    logits_BC, _, gradients = torch_vilt.run(torch_vilt.random_model(case), batch)
    outputs = {f"gradient.{name}": gradients[name] for name in VILT_GRADIENTS}
    return {**_inputs(batch), **outputs, "logits_BC": logits_BC}


def expected_blip(case: torch_blip.Case) -> dict[str, np.ndarray]:
    """Returns a case's inputs, hidden states, logits, scores, loss and gradients by name."""
    batch, answers = torch_blip.random_batch(case), torch_blip.random_answers(case)
    results = torch_blip.run(torch_blip.random_model(case), batch, answers)
    kept = ("question_BTD", "logits_BC", "logits_BTV", "loss")
    names = [*kept, *(f"gradient.{name}" for name in BLIP_GRADIENTS)]
    inputs = {"answer_ids_BT": answers[0], "answer_mask_BT": answers[1], **_inputs(batch)}
    return {**inputs, **{name: results[name] for name in names}}


def expected_llava(case: torch_blip.Case) -> dict[str, np.ndarray]:
    """Returns a case's inputs, hidden states, scores, logits, loss and gradients by name."""
    batch = torch_llava.random_batch(case)
    results = torch_llava.run(case, torch_llava.random_model(case), batch)
    return {**_inputs(batch), **_kept(results, LLAVA_GRADIENTS)}


def expected_smolvlm(case: torch_smolvlm.Case) -> dict[str, np.ndarray]:
    """Returns a case's inputs, hidden states, scores, logits, loss and gradients by name."""
    batch = torch_smolvlm.random_batch(case)
    results = torch_smolvlm.run(case, torch_smolvlm.random_model(case), batch)
    return {**_inputs(batch), **_kept(results, SMOLVLM_GRADIENTS)}


def _kept(results: dict[str, np.ndarray], gradients: Sequence[str]) -> dict[str, np.ndarray]:
    names = ["hidden_BTD", "logits_BTV", "logits_BC", "loss"]
    names += [f"gradient.{name}" for name in gradients]
    return {name: results[name] for name in names}


def save_llava(folder: pathlib.Path, case: torch_blip.Case) -> None:
    """Writes a case's model as a directory of ours, with an answer head."""
    _save_with_head(folder, torch_llava.random_model(case), case)


def save_smolvlm(folder: pathlib.Path, case: torch_smolvlm.Case) -> None:
    """Writes a case's model as a directory of ours, with an answer head."""
    _save_with_head(folder, torch_smolvlm.random_model(case), case)


def save_blip2(folder: pathlib.Path, case: torch_blip2.Case) -> None:
    """Writes a case's model as a directory of ours, with an answer head."""
    _save_with_head(folder, torch_blip2.random_model(case), case)


def save_blip(folder: pathlib.Path, case: torch_blip.Case) -> None:
    """Writes a case's model as a directory of ours, with an answer head."""
    _save_with_head(folder, torch_blip.random_model(case), case)


def _save_with_head(
    folder: pathlib.Path, model: Any, case: torch_blip.Case | torch_blip2.Case
) -> None:
    head = model.answer_head
    del model.answer_head
    model.save_pretrained(folder)
    extra_files.write_head(folder, torch_blip.head_params(head))
    path = folder / huggingface.CONFIG_FILE
    labels = {str(place): f"answer {place}" for place in range(case.answers)}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"id2label": labels}, indent=2))


def main() -> None:
    """Writes one Hugging Face directory per case, with expected.safetensors beside the model."""
    for name, vilt_case in torch_vilt.CASES.items():
        torch_vilt.random_model(vilt_case).save_pretrained(FIXTURES / "vilt" / name)
        save_file(expected_vilt(vilt_case), FIXTURES / "vilt" / name / "expected.safetensors")
    for name, blip_case in torch_blip.CASES.items():
        save_blip(FIXTURES / "blip" / name, blip_case)
        save_file(expected_blip(blip_case), FIXTURES / "blip" / name / "expected.safetensors")
    for name, llava_case in torch_llava.CASES.items():
        save_llava(FIXTURES / "llava" / name, llava_case)
        save_file(expected_llava(llava_case), FIXTURES / "llava" / name / "expected.safetensors")
    for name, smolvlm_case in torch_smolvlm.CASES.items():
        folder = FIXTURES / "smolvlm" / name
        save_smolvlm(folder, smolvlm_case)
        save_file(expected_smolvlm(smolvlm_case), folder / "expected.safetensors")


def _inputs(batch: Batch) -> dict[str, np.ndarray]:
    fields = dataclasses.fields(batch)
    names = [field.name for field in fields if getattr(batch, field.name) is not None]
    return {f"batch.{name}": np.asarray(getattr(batch, name)) for name in names}


if __name__ == "__main__":
    main()
