"""A random BERT in a Hugging Face directory, and its hidden states in NumPy alone.

Names and mathematics are those of the authors' BERT (Devlin et al., 2019); nothing is shared with
the model that is tested.
"""

import json
import math
import pathlib

import numpy as np
from safetensors.numpy import save_file

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{n}" for n in range(35)))
SIZES = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 12,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}
Tensors = dict[str, np.ndarray]


def random_bert(seed: int = 0) -> Tensors:
    """Draws all tensors of a BertModel without its pooler, none of them zero."""
    draw = np.random.default_rng(seed)
    width, inner = SIZES["hidden_size"], SIZES["intermediate_size"]
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (SIZES["vocab_size"], width),
        "embeddings.position_embeddings.weight": (SIZES["max_position_embeddings"], width),
        "embeddings.token_type_embeddings.weight": (SIZES["type_vocab_size"], width),
    }
    norms = ["embeddings.LayerNorm"]
    for layer in range(SIZES["num_hidden_layers"]):
        block = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{block}.attention.{name}.weight"] = (width, width)
            shapes[f"{block}.attention.{name}.bias"] = (width,)
        shapes[f"{block}.intermediate.dense.weight"] = (inner, width)
        shapes[f"{block}.intermediate.dense.bias"] = (inner,)
        shapes[f"{block}.output.dense.weight"] = (width, inner)
        shapes[f"{block}.output.dense.bias"] = (width,)
        norms += [f"{block}.attention.output.LayerNorm", f"{block}.output.LayerNorm"]
    shapes |= {f"{norm}.{part}": (width,) for norm in norms for part in ("weight", "bias")}
    return {
        name: draw.normal(*moments(name), shape).astype(np.float32)
        for name, shape in shapes.items()
    }


def moments(name: str) -> tuple[float, float]:
    """Returns mean and standard deviation; other values and outputs would make all tokens alike."""
    if name.endswith("LayerNorm.weight"):
        return 1.0, 0.3
    is_larger = name.startswith("embeddings.") or "query" in name or "key" in name
    return 0.0, 0.6 if is_larger else 0.2


def write(folder: pathlib.Path, tensors: Tensors, **changes: object) -> pathlib.Path:
    """Writes a BERT with a vocabulary; changes are of config.json, None removes an entry."""
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    content = {"model_type": "bert", **SIZES, **changes}
    kept = {name: value for name, value in content.items() if value is not None}
    (folder / "config.json").write_text(json.dumps(kept))
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in WORDS))
    return folder


def hidden_states(tensors: Tensors, ids_T: list[int]) -> list[np.ndarray]:
    """Computes the states of one sentence: of the embeddings, and after every layer."""
    words = tensors["embeddings.word_embeddings.weight"][ids_T]
    positions = tensors["embeddings.position_embeddings.weight"][: len(ids_T)]
    types = tensors["embeddings.token_type_embeddings.weight"][0]
    states = [_norm(tensors, "embeddings.LayerNorm", words + positions + types)]
    for layer in range(SIZES["num_hidden_layers"]):
        block, hidden_TD = f"encoder.layer.{layer}", states[-1]
        attended_TD = _attention(tensors, f"{block}.attention", hidden_TD)
        hidden_TD = _norm(tensors, f"{block}.attention.output.LayerNorm", hidden_TD + attended_TD)
        inner_TF = _linear(tensors, f"{block}.intermediate.dense", hidden_TD)
        inner_TF = inner_TF * (1 + np.vectorize(math.erf)(inner_TF / math.sqrt(2))) / 2
        output_TD = _linear(tensors, f"{block}.output.dense", inner_TF)
        states.append(_norm(tensors, f"{block}.output.LayerNorm", hidden_TD + output_TD))
    return states


def _attention(tensors: Tensors, name: str, hidden_TD: np.ndarray) -> np.ndarray:
    heads = SIZES["num_attention_heads"]
    query, key, value = (
        np.stack(np.split(_linear(tensors, f"{name}.self.{part}", hidden_TD), heads, axis=-1))
        for part in ("query", "key", "value")
    )
    logits = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
    return _linear(tensors, f"{name}.output.dense", np.concatenate(list(mixed), axis=-1))


def _linear(tensors: Tensors, name: str, hidden_TD: np.ndarray) -> np.ndarray:
    return hidden_TD @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def _norm(tensors: Tensors, name: str, hidden_TD: np.ndarray) -> np.ndarray:
    centred_TD = hidden_TD - hidden_TD.mean(axis=-1, keepdims=True)
    variance_T1 = (centred_TD**2).mean(axis=-1, keepdims=True)
    scaled_TD = centred_TD / np.sqrt(variance_T1 + SIZES["layer_norm_eps"])
    return scaled_TD * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]
