"""Task 2 of F³OCUS: the open-access part of OmniMedVQA, eight hospitals with one modality each.

Variants: "" and "tiny", which takes made-up files and a random model and ends in seconds.
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
    config.data.datasets = ("omni_med_vqa/all",)
    config.data.partition = ("modality",)
    if name == "tiny":
        base.use_made_up_files(config)
    elif name:
        raise base.unknown_variant(variant, ("tiny", *base.METHODS))
    return config
