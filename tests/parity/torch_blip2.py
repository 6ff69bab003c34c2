"""Tiny BLIP-2 models of torch, with our answer head on top: the outside reference for ours."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import transformers

from f3ocus_jax.types import Batch
from tests.parity import torch_blip

QUERIES = 3

VISION = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "image_size": 16,
    "patch_size": 8,
}
QFORMER = {
    "hidden_size": 8,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "encoder_hidden_size": 12,
}
OPT = {
    "model_type": "opt",
    "vocab_size": 40,
    "hidden_size": 16,
    "word_embed_proj_dim": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "ffn_dim": 24,
    "max_position_embeddings": 80,
}
T5 = {
    "model_type": "t5",
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 6,
    "d_ff": 24,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 2,
    "feed_forward_proj": "gated-gelu",
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": 40,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 80,
    "pad_token_id": 0,
}


@dataclasses.dataclass(frozen=True)
class Case:
    """Sizes of one reference model and of what it is asked.

    Attributes:
      text: sizes of its language model, by their Hugging Face names.
      qformer: sizes of its Q-Former that differ from `QFORMER`.
      answers: C.
      examples: B.
      tokens: T of the question.
      deviation: of its parameters.
    """

    text: Mapping[str, Any]
    qformer: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    answers: int = 5
    examples: int = 3
    tokens: int = 7
    deviation: float = 0.1

    @property
    def vision(self) -> Mapping[str, Any]:
        """Sizes of its image encoder."""
        return VISION


CASES = {
    "opt": Case(OPT),
    "t5": Case(T5),
    "llama": Case(LLAMA),
    "opt_long": Case(OPT, {"cross_attention_frequency": 1}, tokens=70, deviation=0.2),
    "t5_long": Case(
        T5 | {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20},
        {"num_hidden_layers": 6, "cross_attention_frequency": 3},
        tokens=70,
        deviation=0.2,
    ),
    "t5_relu": Case(T5 | {"feed_forward_proj": "relu"}),
}


def random_model(case: Case, seed: int = 0) -> Any:
    """Makes a model all of whose parameters are drawn from one normal distribution."""
    config = transformers.Blip2Config(
        vision_config=dict(VISION),
        qformer_config={**QFORMER, **case.qformer},
        text_config=dict(case.text),
        num_query_tokens=QUERIES,
        image_token_index=case.text["vocab_size"] - 1,
    )
    model = transformers.Blip2ForConditionalGeneration(config).eval()
    if case.text["model_type"] == "t5":
        # Checkpoints of flan-T5 have a map to scores of its own, which version 5 ties at first.
        language = model.language_model
        language.lm_head.weight = torch.nn.Parameter(language.shared.weight.detach().clone())
    model.answer_head = torch_blip.random_head(_as_blip(case))
    torch_blip.randomise(model, _as_blip(case), seed)
    return model


def _as_blip(case: Case) -> torch_blip.Case:
    """Returns what the helpers for BLIP go by."""
    width = case.text.get("hidden_size", case.text.get("d_model"))
    text = {"hidden_size": width, "vocab_size": case.text["vocab_size"] - 1}
    sizes = (case.answers, case.examples, case.tokens)
    return torch_blip.Case(VISION, text, *sizes, deviation=case.deviation)


def random_batch(case: Case, seed: int = 0) -> Batch:
    """Makes normalised images and questions, all but the first of them padded."""
    return torch_blip.random_batch(_as_blip(case), seed)


def inputs(case: Case, batch: Batch) -> dict[str, torch.Tensor]:
    """Returns a batch as torch's model takes it: placeholders of the image in front."""
    ids_BT = np.asarray(batch.input_ids_BT)
    places_BQ = np.full((len(ids_BT), QUERIES), case.text["vocab_size"] - 1)
    mask_BT = np.asarray(batch.attention_mask_BT)
    return torch_blip.tensors(
        batch.replace(
            input_ids_BT=np.concatenate([places_BQ, ids_BT], axis=1),
            attention_mask_BT=np.concatenate([np.ones_like(places_BQ), mask_BT], axis=1),
        )
    )


def run(case: Case, model: Any, batch: Batch) -> dict[str, np.ndarray]:
    """Runs model and answer head.

    Args:
      case: of the model.
      model: of `random_model`.
      batch: images and questions.

    Returns:
      logits_BC, the answer head's loss, and its gradient for every parameter that has one as
      "gradient.NAME".
    """
    model.zero_grad()
    given = inputs(case, batch)
    mask = given["attention_mask"]
    image = model.get_image_features(given["pixel_values"]).pooler_output
    words = model.get_input_embeddings()(given["input_ids"])
    hidden = torch.cat([image, words[:, QUERIES:]], dim=1)
    if case.text["model_type"] == "t5":
        start = torch.zeros(len(mask), 1, dtype=torch.long)
        encoded = model.language_model.encoder(inputs_embeds=hidden, attention_mask=mask)[0]
        state = model.language_model.decoder(
            input_ids=start, encoder_hidden_states=encoded, encoder_attention_mask=mask
        )[0][:, 0]
    else:
        read = model.language_model.model(inputs_embeds=hidden, attention_mask=mask)[0]
        state = read[torch.arange(len(mask)), mask.sum(1) - 1]
    logits = model.answer_head(state)
    labels = torch.from_numpy(np.asarray(batch.labels_B)).long()
    targets = torch.nn.functional.one_hot(labels, logits.shape[-1]).float()
    of_head = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    loss = of_head * logits.shape[-1]
    loss.backward()
    results = {"logits_BC": logits.detach().numpy().copy()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            results[f"gradient.{name}"] = parameter.grad.numpy().copy()
    return {**results, "loss": np.array(loss.item(), np.float32)}
