"""MedVQA-FL: hospitals with one modality each (task 3 of F³OCUS).

Variants:
  "": all nine clients of MedMNIST's twelve subsets at 28 px.
  "medmnist3": the three clients whose files are small (breast ultrasound, fundus, pneumonia),
    12 layers, 4 adapter layers per client, 10 rounds; starts from `configs/pretrain.py:medmnist3`.
  "tiny": the three clients and a random model that ends in seconds.
Each with a method of `base.METHODS`, as in "medmnist3_lntk" or "snip".
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = base.get_base()
    name, method = base.split_method(variant)
    base.set_method(config, method)
    config.data.datasets = ("medvqa_fl/all",)
    config.model.architecture = base.vilt(width=768, layers=12, image_size=28, patch_size=4)
    config.model.architecture.num_attention_heads = 12
    if name in ("medmnist3", "tiny"):
        config.data.datasets = (
            "medvqa_fl/breast_ultrasound",
            "medvqa_fl/fundus",
            "medvqa_fl/chest_xray_pneumonia",
        )
    if name == "medmnist3":
        config.model.weights = "runs/foundation_medmnist3"
        config.model.architecture = ml_collections.ConfigDict()
        config.federated.rounds = 10
        config.training.max_local_steps = 20
        config.training.learning_rate = 1e-3
    elif name == "tiny":
        base.make_tiny(config, image_size=28)
        config.federated.budgets = (1, 2, 1)
    elif name:
        raise base.unknown_variant(variant, ("medmnist3", "tiny", *base.METHODS))
    return config
