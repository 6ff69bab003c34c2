"""Nine hospitals with one modality each, from the embedded phantoms: `make demo`.

The foundation model comes from `configs/pretrain.py`. Variants: "", and "tiny" (a ViLT),
"tiny_albef", "tiny_blip", "tiny_llava", "tiny_smolvlm" and "tiny_blip2_opt", "_t5" and "_llama",
which start from random weights and end in seconds; each with a method of `presets.METHODS`, as in
"snip" or "tiny_fd".
"""

import ml_collections

from f3ocus_jax import models
from f3ocus_jax.federation import presets

TINY = {"tiny": "vilt"} | {f"tiny_{family}": family for family in models.TINY}
"""Family by variant."""


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = presets.get_base()
    name, method = presets.split_method(variant)
    config.model.weights = "runs/foundation"
    config.model.adapter_size = 16
    config.importance.probe_examples = 8
    config.training.learning_rate = 4e-3
    config.federated.rounds = 10
    config.federated.budgets = (2, 2, 3, 3, 2, 2, 3, 3, 2)
    if name in TINY:
        config.data.datasets = ("phantom_medvqa/tiny",)
        presets.make_tiny(config, image_size=32, family=TINY[name])
        config.federated.budgets = (1, 2, 1, 2, 1, 2, 1, 2, 1)
    elif name:
        raise presets.unknown_variant(variant, (*TINY, *presets.METHODS))
    presets.set_method(config, method)
    return config
