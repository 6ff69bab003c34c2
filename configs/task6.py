"""Task 6 of F³OCUS: three hospitals answer questions and two find diseases (task heterogeneity).

The paper does not say which datasets; these are SLAKE, VQA-RAD, VQA-Med 2019, and Open-I in two.
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
    config.data.datasets = (
        "slake/english",
        "vqa_rad/released",
        "vqa_med_2019/challenge",
        "open_i/reports",
    )
    config.data.partition = ("dataset", "dataset", "dataset", "dirichlet")
    config.data.clients_per_dataset = 2
    config.data.duplicates = "near"
    if name == "tiny":
        presets.use_made_up_files(config, family)
    presets.set_method(config, method)
    return config
