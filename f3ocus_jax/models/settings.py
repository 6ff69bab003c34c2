"""Settings of the model: `config.model`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.config import Section, paths, setting
from f3ocus_jax.models import FAMILIES, losses, spec


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section):
    """Vision-language model that is tuned."""

    family: str = setting("vilt", "Model family.", choices=FAMILIES)
    weights: str = setting(
        "",
        'Local Hugging Face directory; "" starts from random weights.',
        path=paths.Kind.LOCAL_OR_NONE,
    )
    architecture: Mapping[str, Any] = setting(
        {},
        "Sizes of a random start by their Hugging Face names; empty with `weights`, which bring "
        "their own.",
    )
    selectable: str = setting(
        "",
        'Stack whose blocks can be chosen, as docs/models.md names them; "" for the family\'s '
        "first.",
    )
    image_size: int = setting(
        0,
        "Side of the images in pixels, to which the positions of the weights' patches are resized; "
        "0 for the size that the weights or the architecture name.",
        at_least=0,
    )
    adapter_size: int = setting(
        48, "Bottleneck of the adapter in every selectable block; 0 for none.", at_least=0
    )
    lora_rank: int = setting(
        0,
        "Rank of the change of every selectable block's queries and values, for "
        '`training.unit` = "lora"; 0 for none.',
        at_least=0,
    )
    prompt_length: int = setting(
        0,
        'Learned tokens in front of the selectable stack, for `training.unit` = "prompt"; 0 for '
        "none.",
        at_least=0,
    )
    loss: str = setting("cross_entropy", "Loss of the answer head.", choices=losses.LOSSES)
    answering: str = setting(
        spec.CLASSIFY,
        'Way to answer: "classify" (a head over the answer vocabulary) or "generate" (the language '
        "model or decoder writes the answer, and the loss is the negative log-probability of its "
        "tokens).",
        choices=spec.ANSWERING,
    )

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        self.require(
            not (self.weights and self.architecture),
            "architecture",
            f"empty, since config.model.weights = {self.weights!r} brings its own",
        )
