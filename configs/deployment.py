"""Hospitals that send messages: the settings of a server and of its sites (docs/deployment.md).

All members run with one file. The server is given no site; a hospital changes what is its own:
`deployment.site`, `data.datasets`, `data.data_dir`. The foundation model comes from
`configs/pretrain.py`. Variants: "" for nine phantom hospitals, and "tiny", which starts from random
weights and ends in seconds; each with a method of `presets.METHODS`, as in "fd" or "tiny_snip".
"""

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.federation import presets

SITES = (
    "abdominal_ct",
    "blood_microscope",
    "breast_ultrasound",
    "chest_xray",
    "colon_pathology",
    "dermatoscope",
    "fundus",
    "kidney_cortex_microscope",
    "oct",
)
"""The clients of the phantoms, in their order."""


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = defaults(DeployedConfig)
    name, method = presets.split_method(variant)
    config.deployment.sites = SITES
    config.model.weights = "runs/foundation"
    config.model.adapter_size = 16
    config.importance.probe_examples = 8
    config.training.learning_rate = 4e-3
    config.federated.rounds = 10
    config.federated.budgets = (2,)
    if name == "tiny":
        config.data.datasets = ("phantom_medvqa/tiny",)
        presets.make_tiny(config, image_size=32)
        config.federated.budgets = (1,)
    elif name:
        raise presets.unknown_variant(variant, ("tiny", *presets.METHODS))
    presets.set_method(config, method)
    return config
