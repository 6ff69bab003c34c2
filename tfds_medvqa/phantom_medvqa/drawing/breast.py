"""Drawing of a breast ultrasound: speckled layers and a smooth or spiculated mass."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    coordinates,
    outline,
    paint,
    rgb,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose, sign, yes_no

DIAGNOSES = ("normal", "benign", "malignant")


def sample(rng: np.random.Generator) -> Facts:
    """Draws a diagnosis and the side of the mass, where there is one."""
    diagnosis = choose(rng, DIAGNOSES)
    facts = {
        "diagnosis": diagnosis,
        "mass": yes_no(diagnosis != "normal"),
        "shadow": yes_no(diagnosis == "malignant"),
    }
    if diagnosis != "normal":
        facts["side"] = choose(rng, ("left", "right"))
        facts["irregular"] = yes_no(diagnosis == "malignant")
    return facts


def _layers(size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns brightness_HW of skin, fat with its septa, gland and muscle, top to bottom."""
    _, y_HW = coordinates(size)
    depth_HW = y_HW + 0.05 * texture(rng, size, 4)
    depths = (-1.0, -0.88, -0.84, -0.5, -0.42, 0.45, 0.52, 0.6, 0.66, 1.0)
    greys = (0.85, 0.85, 0.34, 0.30, 0.62, 0.52, 0.85, 0.32, 0.30, 0.16)
    image_HW = np.interp(depth_HW, depths, greys).astype(np.float32)
    fibers_HW = texture(rng, size, 4, cells_down=16)
    return image_HW * (1.0 + 0.16 * fibers_HW)


def _paint_mass(image_HW: np.ndarray, facts: Mapping[str, str], rng: np.random.Generator) -> None:
    """Paints an oval with an echo behind it, or a spiked mass with a shadow behind it."""
    size = len(image_HW)
    x_HW, y_HW = coordinates(size)
    center = (sign(facts["side"]) * rng.uniform(0.40, 0.48), rng.uniform(-0.12, 0.0))
    phases = rng.uniform(0.0, 6.28, 3)
    column_HW = soft_mask(np.abs(x_HW - center[0]) - 0.22, 0.12) * soft_mask(center[1] - y_HW, 0.1)
    if facts["diagnosis"] == "benign":
        image_HW *= 1.0 + 0.75 * column_HW
        paint(
            image_HW,
            outline(size, center, (0.40, 0.26), [(2, 0.04, phases[0])], softness=0.06),
            0.09,
        )
        return
    image_HW *= 1.0 - 0.88 * column_HW
    waves = [(7, 0.22, phases[0]), (4, 0.14, phases[1]), (11, 0.12, phases[2])]
    paint(image_HW, outline(size, center, (0.30, 0.36), waves, softness=0.08), 0.05)


def draw(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws one scan line image; the speckle multiplies whatever is below it."""
    image_HW = _layers(size, rng)
    # The magnitude of a complex normal field is Rayleigh distributed, as ultrasound speckle is.
    real_HW, imaginary_HW = texture(rng, size, 20, 40), texture(rng, size, 20, 40)
    speckle_HW = np.hypot(real_HW, imaginary_HW)
    if facts["diagnosis"] != "normal":
        _paint_mass(image_HW, facts, rng)
    return rgb(image_HW * (0.62 + 0.42 * speckle_HW))


MODALITY = Modality("ultrasound", "breast", True, "diagnosis", DIAGNOSES, sample, draw)
