"""ALBEF put together from transformers' BLIP classes, the outside reference for ours.

transformers has no ALBEF. Its image encoder is BLIP's with another epsilon; its text encoder is
BLIP's without cross-attention, then BLIP's with it; BLIP's embeddings lack token types, of which
ALBEF uses the first alone, so that it is added to the positions here.
"""

import re
from typing import Any

import numpy as np
import torch
import transformers

from f3ocus_jax.types import Batch
from tests.parity import torch_blip
from tests.parity.torch_blip import Case

FUSION_LAYER = 2
VISION = (
    ("vision_model.embeddings.class_embedding", "visual_encoder.cls_token"),
    ("vision_model.embeddings.position_embedding", "visual_encoder.pos_embed"),
    ("vision_model.embeddings.patch_embedding", "visual_encoder.patch_embed.proj"),
    ("vision_model.encoder.layers", "visual_encoder.blocks"),
    ("vision_model.post_layernorm", "visual_encoder.norm"),
    ("layer_norm1", "norm1"),
    ("layer_norm2", "norm2"),
    ("self_attn.qkv", "attn.qkv"),
    ("self_attn.projection", "attn.proj"),
)

CASE = Case(
    vision={
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "intermediate_size": 20,
        "image_size": 24,
        "patch_size": 8,
        "layer_norm_eps": 1e-6,
    },
    text={
        "vocab_size": 2700,
        "hidden_size": 16,
        "num_hidden_layers": 5,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 10,
        "bos_token_id": 2,
        "sep_token_id": 3,
    },
    answers=5,
    examples=3,
    tokens=7,
)


FULL_SIZE = Case(
    vision={"layer_norm_eps": 1e-6},
    text={"vocab_size": 30522, "hidden_size": 768, "num_hidden_layers": 12, "sep_token_id": 102},
    answers=2,
    examples=1,
    tokens=1,
)
"""The published one."""


class TypedPositions(torch.nn.Module):
    """Positions to which the embedding of the first token type is added."""

    def __init__(self, positions: torch.nn.Embedding) -> None:
        super().__init__()
        self.weight = positions.weight
        self.types = torch.nn.Parameter(torch.zeros(2, positions.embedding_dim))

    def forward(self, position_ids: torch.Tensor) -> torch.Tensor:
        return self.weight[position_ids] + self.types[0]


class Albef(torch.nn.Module):
    """The composite; its parts are called as in BLIP, so that `torch_blip.run` runs it."""

    def __init__(self, case: Case, fusion_layer: int = FUSION_LAYER) -> None:
        super().__init__()
        eos = {"eos_token_id": case.text["sep_token_id"]}
        text = {**case.text, **eos, "encoder_hidden_size": case.text["hidden_size"]}
        looking = {**text, "num_hidden_layers": text["num_hidden_layers"] - fusion_layer}
        alone = {**text, "num_hidden_layers": fusion_layer, "is_decoder": False}
        kind = transformers.BlipTextConfig
        self.config = transformers.BlipConfig(vision_config=dict(case.vision), text_config=looking)
        self.vision_model = transformers.BlipVisionModel(self.config.vision_config)
        self.text_alone = transformers.BlipTextModel(kind(**alone), add_pooling_layer=False)
        self.fusion = transformers.BlipTextModel(kind(**looking), add_pooling_layer=False)
        del self.fusion.embeddings  # it takes the other half's hidden states
        self.text_decoder = transformers.BlipTextLMHeadModel(kind(**looking))
        self.answer_head = torch_blip.random_head(case)
        for part in (self.text_alone, self.text_decoder.bert):
            part.embeddings.position_embeddings = TypedPositions(
                part.embeddings.position_embeddings
            )

    def text_encoder(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **image: Any
    ) -> Any:
        """Runs both halves of the text encoder."""
        text = self.text_alone(input_ids=input_ids, attention_mask=attention_mask)
        hidden = text.last_hidden_state
        return self.fusion(encoder_embeds=hidden, attention_mask=attention_mask, **image)


def random_model(case: Case, seed: int = 0) -> Albef:
    """Makes a model all of whose parameters are drawn from one normal distribution."""
    model = Albef(case).eval()
    torch_blip.randomise(model, case, seed)
    return model


def original_name(name: str) -> str:
    """Returns what the authors' code for question answering calls a parameter of the composite."""
    for theirs, original in VISION:
        name = name.replace(theirs, original)
    name = name.replace("position_embeddings.types", "token_type_embeddings.weight")
    if name.startswith("fusion."):
        part, number, rest = re.match(r"(.*layer)\.(\d+)\.(.*)", name).groups()
        name = f"{part}.{int(number) + FUSION_LAYER}.{rest}"
    return re.sub(r"^(fusion|text_alone)\.", "text_encoder.", name)


def run(
    model: Albef, batch: Batch, answers: tuple[np.ndarray, np.ndarray]
) -> dict[str, np.ndarray]:
    """Does what `torch_blip.run` does, with the gradients under the authors' names."""
    results = torch_blip.run(model, batch, answers)
    gradients = [name for name in results if name.startswith("gradient.")]
    renamed = {n: f"gradient.{original_name(n.removeprefix('gradient.'))}" for n in gradients}
    return {renamed.get(name, name): value for name, value in results.items()}


def tuned_checkpoint(model: Albef) -> dict[str, torch.Tensor]:
    """Returns a checkpoint as the authors' code writes it after tuning for question answering."""
    state = {original_name(name): value for name, value in model.state_dict().items()}
    state = {n: v.clone() for n, v in state.items() if not n.startswith("answer_head.")}
    momentum = {
        re.sub(r"^(\w+)", r"\1_m", name): torch.zeros_like(value) for name, value in state.items()
    }
    buffers = {"text_encoder.embeddings.position_ids": torch.arange(10)[None]}
    return {**state, **momentum, **buffers}


def pretrained_checkpoint(model: Albef) -> dict[str, torch.Tensor]:
    """Returns one as it is after pre-training: no decoder, but a masked-word head and others."""
    state = {}
    for name, value in tuned_checkpoint(model).items():
        if name.startswith("text_encoder."):
            name = name.replace("text_encoder.", "text_encoder.bert.", 1)
        if name.startswith("text_decoder.cls."):
            name = name.replace("text_decoder", "text_encoder")
        if not name.startswith("text_decoder"):
            state[name] = value
    others = ("temp", "image_queue", "text_queue", "vision_proj.weight", "itm_head.bias")
    return {**state, **{name: torch.ones(2) for name in others}, "queue_ptr": torch.zeros(1).long()}
