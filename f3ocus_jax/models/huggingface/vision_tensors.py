"""Tensor mappings of the image encoders of CLIP and SigLIP, whose blocks have the same names."""

from f3ocus_jax.models.huggingface import layout
from f3ocus_jax.models.huggingface.layout import Path, TensorMapping

_MAPS = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.out_proj",
    "intermediate": "mlp.fc1",
    "output": "mlp.fc2",
}


def blocks(path: Path, model: str, layers: range) -> list[TensorMapping]:
    """Returns the tensor mappings of a stack of blocks.

    Args:
      path: Path of the stack's parameters.
      model: Prefix of the image encoder.
      layers: Indices of the blocks.
    """
    names = f"{model}.encoder.layers.{{layer}}"
    mappings = layout.norm((*path, "attention_norm"), f"{names}.layer_norm1", layers)
    mappings += layout.norm((*path, "feed_forward_norm"), f"{names}.layer_norm2", layers)
    for name, tensor_name in _MAPS.items():
        mappings += layout.linear((*path, name), f"{names}.{tensor_name}", layers)
    return mappings
