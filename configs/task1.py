"""Task 1 of F³OCUS: five question answering datasets, one hospital each (domain gap).

`config.data.manual_dir` names the folder that holds all of their files; what is missing is listed.
Variants:
  "": the five datasets. VQA-Med 2021 comes without the images of 2020 that it gives out again.
  "real2": VQA-RAD and VQA-Med 2019 without its test set, as two hospitals.
  "real5": the same as five hospitals: VQA-RAD by organ, VQA-Med 2019 in two disjoint halves.
  "tiny": the five datasets from made-up files and a random model, in seconds.
Each with a method of `presets.METHODS`, as in "real5_lntk"; "" and "tiny" also with a family of
`models.FAMILIES`, as in "tiny_blip_snip" or "albef".
"""

import ml_collections

from f3ocus_jax.federation import presets

VARIANTS = ("real2", "real5", "tiny")


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = presets.read_variant(variant, VARIANTS)
    config = presets.get_base()
    presets.use_published_sizes(config, family)
    config.data.partition = ("dataset",)
    config.data.duplicates = "near"
    config.data.datasets = (
        "slake/english",
        "vqa_rad/released",
        "vqa_med_2019/challenge",
        "vqa_med_2020/challenge",
        "vqa_med_2021/new_images",
    )
    if name == "tiny":
        presets.use_made_up_files(config, family)
    elif name:
        _use_real_files(config, name)
    presets.set_method(config, method)
    return config


def _use_real_files(config: ml_collections.ConfigDict, name: str) -> None:
    """Two datasets that are free without registration, and a model that a CPU can train."""
    config.data.datasets = ("vqa_rad/released", "vqa_med_2019/development")
    config.data.question_length = 20
    config.model.weights = "runs/foundation_task1"
    config.model.architecture = ml_collections.ConfigDict()
    config.federated.rounds = 10
    config.training.max_local_steps = 20
    if name == "real5":
        config.data.partition = ("anatomy", "shards")
        config.data.clients_per_dataset = 2
