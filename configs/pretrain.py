"""A small ViLT trained on pooled public phantoms, whose seed and look are not the clients'.

Variants: "" for the demo, "medmnist3" for `configs/medvqa_fl.py:medmnist3`, "task1" for
`configs/task1.py:real2` and `real5`, "evidence" and "evidence_albef" for `configs/evidence.py`, and
"tiny", which ends in seconds. "evidence" starts from the words of a sentence encoder, which
`f3ocus initialise` writes, and sees real images of four modalities beside the phantoms
(docs/data.md). "evidence_albef" does so with an ALBEF that has all of the encoder's layers.
"""

import ml_collections

from f3ocus_jax.config import defaults
from f3ocus_jax.federation import presets
from f3ocus_jax.federation.settings import PretrainConfig


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """Returns the config of a variant."""
    config = defaults(PretrainConfig)
    config.model.architecture = _vilt(width=128, layers=6, image_size=32, patch_size=8)
    if variant == "tiny":
        config.data.datasets = ("phantom_medvqa/tiny",)
        config.model.architecture = _vilt(width=32, layers=4, image_size=32, patch_size=16)
        config.optimization.steps = 5
        config.optimization.batch_size = 8
    elif variant == "medmnist3":
        config.model.architecture = _vilt(width=128, layers=12, image_size=28, patch_size=4)
        config.optimization.steps = 600
    elif variant == "task1":
        config.model.architecture = _vilt(width=128, layers=12, image_size=64, patch_size=8)
    elif variant in ("evidence", "evidence_albef"):
        upstream = ("dermoscopy", "blood_microscopy", "brain_mri", "chest_xray")
        names = tuple(f"modality_images/upstream_{name}" for name in upstream)
        config.data.datasets = (*names, "phantom_medvqa/public")
        config.data.partition = ("dataset",)
        config.data.question_length = 16
        config.model.weights = "runs/text_start"
        config.model.architecture = ml_collections.ConfigDict()
        config.optimization.steps = 4000
        config.optimization.learning_rate = 1e-3
        if variant == "evidence_albef":
            config.model.family = "albef"
            config.model.weights = "runs/text_start_albef"
            config.optimization.steps = 6000
            # Less than with drawn text layers, which a large rate would make of MiniLM's again.
            config.optimization.learning_rate = 3e-4
            config.checkpoint.every = 500  # half a gigabyte each
    elif variant:
        known = ("evidence", "evidence_albef", "medmnist3", "task1", "tiny")
        raise presets.unknown_variant(variant, known)
    return config


def _vilt(
    *, width: int, layers: int, image_size: int, patch_size: int
) -> ml_collections.ConfigDict:
    """Returns the sizes of a ViLT with heads of 32 dimensions, by their Hugging Face names."""
    sizes = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 32,
        "intermediate_size": 4 * width,
        "image_size": image_size,
        "patch_size": patch_size,
    }
    return ml_collections.ConfigDict(sizes)
