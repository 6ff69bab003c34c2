"""Task 2 of F³OCUS: the open-access part of OmniMedVQA, eight hospitals with one modality each.

Variants: "" and "tiny", which takes made-up files and a random model and ends in seconds.
Each with a family of `models.FAMILIES` and a method of `presets.METHODS`, as in "tiny_blip_snip".
"""

import ml_collections

from f3ocus_jax.federation import presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = presets.read_variant(variant)
    config = presets.get_base()
    presets.use_published_sizes(config, family)
    config.data.datasets = ("omni_med_vqa/all",)
    config.data.partition = ("modality",)
    if name == "tiny":
        presets.use_made_up_files(config, family)
    presets.set_method(config, method)
    return config
