"""Task 4 of F³OCUS: Open-I's chest X-rays with reports, four hospitals that differ in findings.

Variants: "" and "tiny", which takes made-up files and a random model.
Each with a family of `models.FAMILIES` and a method of `presets.METHODS`, as in "tiny_blip_snip".
"""

import ml_collections

from f3ocus_jax.federation import presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = presets.read_variant(variant)
    config = presets.get_base()
    presets.use_published_sizes(config, family)
    config.data.datasets = ("open_i/reports",)
    config.data.partition = ("dirichlet",)
    config.data.clients_per_dataset = 4
    config.data.dirichlet_alpha = 0.5
    if name == "tiny":
        presets.use_made_up_files(config, family)
        config.data.clients_per_dataset = 2
    presets.set_method(config, method)
    return config
