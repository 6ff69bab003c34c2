"""Task 2 of F³OCUS: the open-access part of OmniMedVQA, eight hospitals with one modality each.

Variants: "" and "tiny", which takes made-up files and a random model and ends in seconds.
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = base.get_base()
    base.use_vilt_base(config)
    config.data.datasets = ("omni_med_vqa/all",)
    config.data.partition = ("modality",)
    if variant == "tiny":
        base.use_made_up_files(config)
    elif variant:
        raise base.unknown_variant(variant, ("tiny",))
    return config
