"""Files of your own: a table of images, questions and answers, by hospital (docs/your_data.md).

`--config.data.datasets` names the folder. The foundation model comes from `configs/pretrain.py`,
which `make demo` trains first. Variants: "", and "tiny", which starts from random weights and ends
in seconds; each with a family of `models.FAMILIES` after "tiny", and a method of `presets.METHODS`,
as in "tiny_blip_snip" or "fd".
"""

import ml_collections

from f3ocus_jax.federation import presets


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = presets.read_variant(variant, ("tiny",))
    config = presets.get_base()
    config.data.datasets = ("files:own_data",)
    config.data.partition = ("hospital",)
    config.data.question_length = 40
    config.model.weights = "runs/foundation"
    config.model.adapter_size = 16
    config.importance.probe_examples = 8
    config.training.learning_rate = 4e-3
    config.federated.rounds = 10
    config.federated.budgets = (2,)
    if name == "tiny":
        presets.make_tiny(config, image_size=32, family=family)
        config.federated.budgets = (1,)
    elif family != "vilt":
        raise presets.unknown_variant(variant, ("tiny", *presets.METHODS))
    presets.set_method(config, method)
    return config
