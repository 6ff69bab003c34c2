"""Drawing of a dermatoscope image: skin, hairs and a pigmented or vascular lesion."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    coordinates,
    dots,
    filled,
    outline,
    paint,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose, sign, yes_no

DIAGNOSES = ("nevus", "melanoma", "vascular lesion")


def sample(rng: np.random.Generator) -> Facts:
    """Draws a diagnosis, the side of the lesion, and whether hairs cross the picture."""
    diagnosis = choose(rng, DIAGNOSES)
    return {
        "diagnosis": diagnosis,
        "malignant": yes_no(diagnosis == "melanoma"),
        "side": choose(rng, ("left", "right")),
        "hair": choose(rng, ("yes", "no")),
    }


def _paint_lesion(
    image_HWC: np.ndarray, facts: Mapping[str, str], rng: np.random.Generator
) -> None:
    """Paints a round even naevus, a ragged many-coloured melanoma, or a red lake."""
    size = len(image_HWC)
    center = (sign(facts["side"]) * rng.uniform(0.34, 0.42), rng.uniform(-0.2, 0.2))
    phases = rng.uniform(0.0, 6.28, 3)
    clouds_HW = texture(rng, size, 7)
    if facts["diagnosis"] == "nevus":
        mask_HW = outline(size, center, (0.40, 0.38), [(2, 0.05, phases[0])], softness=0.12)
        paint(image_HWC, mask_HW, (0.60, 0.38, 0.22))
        paint(image_HWC, 0.35 * mask_HW * (clouds_HW > 0.4), (0.42, 0.24, 0.14))
        return
    if facts["diagnosis"] == "vascular lesion":
        mask_HW = outline(size, center, (0.40, 0.40), [(3, 0.06, phases[0])], softness=0.06)
        paint(image_HWC, mask_HW, (0.82, 0.08, 0.14))
        paint(image_HWC, 0.5 * mask_HW * (clouds_HW > 0.3), (0.50, 0.02, 0.16))
        return
    waves = [(3, 0.16, phases[0]), (5, 0.10, phases[1]), (8, 0.07, phases[2])]
    mask_HW = outline(size, center, (0.50, 0.54), waves, softness=0.06)
    paint(image_HWC, mask_HW, (0.24, 0.13, 0.08))
    paint(image_HWC, mask_HW * soft_mask(0.2 - clouds_HW, 0.3), (0.05, 0.04, 0.05))
    paint(image_HWC, 0.8 * mask_HW * soft_mask(clouds_HW + 0.6, 0.3), (0.36, 0.40, 0.52))


def _paint_hairs(image_HWC: np.ndarray, rng: np.random.Generator) -> None:
    """Paints a few dark curved lines across the whole picture."""
    x_HW, y_HW = coordinates(len(image_HWC))
    for start in (-0.7, -0.25, 0.25, 0.7):
        slope, bend = rng.uniform(0.5, 1.0), rng.uniform(-0.25, 0.25)
        course_HW = start + slope * x_HW + bend * x_HW**2 + rng.uniform(-0.1, 0.1)
        paint(image_HWC, soft_mask(np.abs(y_HW - course_HW) - 0.03), (0.08, 0.05, 0.04))


def draw(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a close-up of the skin under polarised light."""
    x_HW, y_HW = coordinates(size)
    image_HWC = filled(size, (0.93, 0.74, 0.64))
    image_HWC += (0.025 * texture(rng, size, 20) + 0.02 * texture(rng, size, 4))[..., None]
    image_HWC *= (1.0 - 0.10 * (x_HW**2 + y_HW**2))[..., None]
    # Pores, so that the skin is not a plain wall.
    paint(image_HWC, 0.3 * dots(size, rng.uniform(-1.0, 1.0, (24, 2)), 0.02), (0.75, 0.50, 0.42))
    _paint_lesion(image_HWC, facts, rng)
    if facts["hair"] == "yes":
        _paint_hairs(image_HWC, rng)
    return image_HWC


MODALITY = Modality("dermoscopy", "skin", False, "diagnosis", DIAGNOSES, sample, draw)
