"""A small ViLT trained on pooled public phantoms, whose seed and look are not the clients'.

Variants: "" for the demo, "medmnist3" for `configs/medvqa_fl.py:medmnist3`, "task1" for
`configs/task1.py:real2` and `real5`, and "tiny", which ends in seconds.
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    defaults = base.get_base()
    config = ml_collections.ConfigDict()
    config.seed = 0
    config.data = defaults.data
    config.data.datasets = ("phantom_medvqa/public",)
    config.model = defaults.model
    config.model.adapter_size = 0
    config.model.architecture = _vilt(width=128, layers=6, image_size=32, patch_size=8)
    config.evaluation = defaults.evaluation

    config.optimization = ml_collections.ConfigDict()
    config.optimization.steps = 400
    config.optimization.batch_size = 32
    config.optimization.learning_rate = 5e-4
    config.optimization.weight_decay = 0.05
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
        config.optimization.steps = 400
    elif variant:
        raise base.unknown_variant(variant, ("medmnist3", "task1", "tiny"))
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
