"""MedVQA-FL: hospitals with one modality each (task 3 of F³OCUS).

Variants:
  "": all nine clients of MedMNIST's twelve subsets at 28 px.
  "medmnist3": the three clients whose files are small (breast ultrasound, fundus, pneumonia),
    12 layers, 4 adapter layers per client, 10 rounds; starts from `configs/pretrain.py:medmnist3`.
  "findings": ChestMNIST's fourteen findings, four clients that differ in them.
  "tiny": the three clients and a random model that ends in seconds.
Each with a method of `presets.METHODS`, as in "medmnist3_lntk"; "" and "tiny" also with a family
of `models.FAMILIES`, as in "tiny_blip_snip" or "albef", which see the 28 px at their own size.
"""

import ml_collections

from f3ocus_jax.federation import presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = presets.read_variant(variant, ("findings", "medmnist3", "tiny"))
    config = presets.get_base()
    presets.use_published_sizes(config, family)
    config.data.datasets = ("medvqa_fl/all",)
    if family == "vilt":
        config.model.architecture.image_size = 28
        config.model.architecture.patch_size = 4
    if name in ("medmnist3", "tiny"):
        config.data.datasets = (
            "medvqa_fl/breast_ultrasound",
            "medvqa_fl/fundus",
            "medvqa_fl/chest_xray_pneumonia",
        )
    if name == "findings":
        config.data.datasets = ("medvqa_fl/chest_xray_findings",)
        config.data.partition = ("dirichlet",)
        config.data.clients_per_dataset = 4
    if name == "medmnist3":
        config.model.weights = "runs/foundation_medmnist3"
        config.model.architecture = ml_collections.ConfigDict()
        config.federated.rounds = 10
        config.training.max_local_steps = 20
        config.training.learning_rate = 1e-3
    elif name == "tiny":
        presets.make_tiny(config, image_size=28, family=family)
        config.federated.budgets = (1, 2, 1)
    presets.set_method(config, method)
    return config
