"""Task 2 of F³OCUS: the open-access part of OmniMedVQA, eight hospitals with one modality each.

Variants: "" and "tiny", which takes made-up files and a random model and ends in seconds.
Each with a family of `base.FAMILIES` and a method of `base.METHODS`, as in "tiny_blip_snip".
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = base.read_variant(variant)
    config = base.get_base()
    base.use_published_sizes(config, family)
    config.data.datasets = ("omni_med_vqa/all",)
    config.data.partition = ("modality",)
    if name == "tiny":
        base.use_made_up_files(config, family)
    base.set_method(config, method)
    return config
