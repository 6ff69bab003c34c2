"""A small ViLT trained on pooled public phantoms, whose seed and look are not the clients'.

Variants: "" for the demo, "medmnist3" for `configs/medvqa_fl.py:medmnist3`, "task1" for
`configs/task1.py:real2` and `real5`, and "tiny", which ends in seconds.
"""

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.federation import presets
from f3ocus_jax.federation.settings import PretrainConfig


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = defaults(PretrainConfig)
    config.model.architecture = _vilt(width=128, layers=6, image_size=32, patch_size=8)
    if variant == "tiny":
        config.data.datasets = ("phantom_medvqa/tiny",)
        config.model.architecture = _vilt(width=32, layers=4, image_size=32, patch_size=16)
        config.optimization.steps = 5
        config.optimization.batch_size = 8
    elif variant == "medmnist3":
        config.model.architecture = _vilt(width=128, layers=12, image_size=28, patch_size=4)
        config.optimization.steps = 600
    elif variant == "task1":
        config.model.architecture = _vilt(width=128, layers=12, image_size=64, patch_size=8)
    elif variant:
        raise presets.unknown_variant(variant, ("medmnist3", "task1", "tiny"))
    return config


def _vilt(
    *, width: int, layers: int, image_size: int, patch_size: int
) -> ml_collections.ConfigDict:
    """Returns the sizes of a ViLT with heads of 32 dimensions, by their Hugging Face names."""
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
        "image_size": image_size,
        "patch_size": patch_size,
    }
    return ml_collections.ConfigDict(sizes)
