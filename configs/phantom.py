"""Nine hospitals with one modality each, from the embedded phantoms: `make demo`.

The foundation model comes from `configs/pretrain.py`. Variants: "" and "tiny", which starts from
random weights and ends in seconds.
"""

import ml_collections

from configs import base


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = base.get_base()
    config.model.weights = "runs/foundation"
    config.model.adapter_size = 16
    config.importance.probe_examples = 8
    config.training.learning_rate = 4e-3
    config.federated.rounds = 10
    config.federated.budgets = (2, 2, 3, 3, 2, 2, 3, 3, 2)
    if variant == "tiny":
        config.data.datasets = ("phantom_medvqa/tiny",)
        base.make_tiny(config, image_size=32)
        config.federated.budgets = (1, 2, 1, 2, 1, 2, 1, 2, 1)
    elif variant:
        raise base.unknown_variant(variant, ("tiny",))
    return config
