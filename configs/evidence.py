"""Federations of real images, small enough to be run many times (docs/data.md).

`config.data.manual_dir` names the folder that holds all of their files; what is missing is listed.
All but "tiny" start from `configs/pretrain.py:evidence`, a ViLT whose text embeddings are MiniLM's,
or with the family "albef" from `evidence_albef`, an ALBEF whose text layers are. All but those on
adapters train whole blocks of twelve, in an ALBEF those of its image encoder. Ten rounds have five
steps each.
Variants:
  "": six hospitals of one modality each (`modality_images`).
  "medmnist3": three hospitals of MedMNIST; never together with "", which has the same images.
  "medmnist3_own_splits": the same in MedMNIST's own splits.
  "task1": five hospitals of VQA-RAD by organ and VQA-Med 2019 in two halves, as `task1:real5`.
  "label_shift", "label_shift_strong": four hospitals of dermoscopy whose answers differ by a
    Dirichlet distribution of concentration 1 or 0.2.
  "adapters": the six hospitals, whose clients train adapters in the blocks.
  "medmnist3_own_splits_adapters", "task1_adapters", "label_shift_adapters",
    "label_shift_strong_adapters": likewise.
  "tiny": the six hospitals from made-up files and a random model, in seconds.
Each with a family and a method of `presets.METHODS`, as in "medmnist3_fd" and "albef_lntk".
"""

import ml_collections

from f3ocus_jax.federation import presets

STARTS = {"vilt": "runs/foundation_evidence", "albef": "runs/foundation_evidence_albef"}
FEDERATIONS = ("medmnist3_own_splits", "task1", "label_shift", "label_shift_strong")
WITH_ADAPTERS = ("adapters", *(f"{name}_adapters" for name in FEDERATIONS))
VARIANTS = ("medmnist3", *FEDERATIONS, *WITH_ADAPTERS, "tiny")

HOSPITALS = (
    "chest_ct",
    "dermoscopy",
    "blood_microscopy",
    "brain_mri",
    "breast_ultrasound",
    "chest_xray",
)
MEDMNIST = ("breast_ultrasound", "fundus", "chest_xray_pneumonia")
CONCENTRATIONS = {"label_shift": 1.0, "label_shift_strong": 0.2}


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    name, family, method = presets.read_variant(variant, VARIANTS, with_start=tuple(STARTS))
    if family not in STARTS:
        raise presets.unknown_variant(variant, (*VARIANTS, *STARTS, *presets.METHODS))
    config = presets.get_base()
    config.data.datasets = tuple(f"modality_images/{hospital}" for hospital in HOSPITALS)
    config.data.question_length = 16
    config.data.evaluated_examples = 120
    config.model.family = family
    config.model.weights = STARTS[family]
    if family == "albef":
        config.model.selectable = "vision"
    config.model.adapter_size = 16
    config.importance.probe_examples = 4
    config.training.unit = "block"
    config.training.batch_size = 16
    config.training.max_local_steps = 5
    config.federated.rounds = 10
    config.federated.budgets = (2,)
    federation = name.removesuffix("_adapters")
    if federation.startswith("medmnist3"):
        ending = federation.removeprefix("medmnist3")
        config.data.datasets = tuple(f"medvqa_fl/{client}{ending}" for client in MEDMNIST)
        config.data.question_length = 20
    elif federation == "task1":
        config.data.datasets = ("vqa_rad/released", "vqa_med_2019/development")
        config.data.partition = ("anatomy", "shards")
        config.data.clients_per_dataset = 2
        config.data.duplicates = "near"
        config.data.question_length = 20
    elif federation in CONCENTRATIONS:
        config.data.datasets = ("modality_images/dermoscopy",)
        config.data.partition = ("dirichlet",)
        config.data.clients_per_dataset = 4
        config.data.dirichlet_alpha = CONCENTRATIONS[federation]
    elif name == "tiny":
        presets.use_made_up_files(config, family)
    if name in WITH_ADAPTERS:
        config.training.unit = "adapter"
    presets.set_method(config, method)
    if config.training.unit == "block":
        config.model.adapter_size = 0
    return config
