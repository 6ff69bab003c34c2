"""Task 4 of F³OCUS: Open-I's chest X-rays with reports, four hospitals that differ in findings.

Variants: "" and "tiny", which takes made-up files and a random model.
Each with a method of `base.METHODS`, as in "tiny_snip" or "lntk".
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = base.get_base()
    name, method = base.split_method(variant)
    base.set_method(config, method)
    base.use_vilt_base(config)
    config.data.datasets = ("open_i/reports",)
    config.data.partition = ("dirichlet",)
    config.data.clients_per_dataset = 4
    config.data.dirichlet_alpha = 0.5
    if name == "tiny":
        base.use_made_up_files(config)
        config.data.clients_per_dataset = 2
    elif name:
        raise base.unknown_variant(variant, ("tiny", *base.METHODS))
    return config
