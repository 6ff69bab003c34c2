"""Facts about a phantom, drawn before its image; they are also the answers."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np

Facts: TypeAlias = dict[str, str]
"""Fact name to answer, as {"diagnosis": "effusion", "side": "left"}; a fact that does not apply to
the image (the side of an absent lesion) is missing, and no question asks for it."""


@dataclasses.dataclass(frozen=True)
class Modality:
    """One imaging modality.

    Attributes:
      modality: Value of the feature `modality`.
      anatomy: Value of the feature `anatomy`.
      grey: True if its machine measures one channel.
      label_fact: Name of the fact that `label` encodes.
      label_classes: Classes of this fact, in the order of `label`.
      sample: Draws the facts of one image; all classes are equally likely.
      draw: (facts, rng, size) -> image_HWC, float32 about [0, 1]. All random numbers of the
        healthy image are drawn before those of a finding, so that the same rng without the finding
        gives the same image except for the finding.
    """

    modality: str
    anatomy: str
    grey: bool
    label_fact: str
    label_classes: tuple[str, ...]
    sample: Callable[[np.random.Generator], Facts]
    draw: Callable[[Mapping[str, str], np.random.Generator, int], np.ndarray]


def choose(rng: np.random.Generator, choices: tuple[str, ...]) -> str:
    """Draws one of the choices, all equally likely."""
    return choices[int(rng.integers(len(choices)))]


def yes_no(truth: bool) -> str:
    """Returns "yes" or "no"."""
    return "yes" if truth else "no"


def sign(side: str | None) -> float:
    """Returns -1 for "left", the negative x, and 1 for anything else."""
    return -1.0 if side == "left" else 1.0
