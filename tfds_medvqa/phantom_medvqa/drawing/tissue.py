"""Drawing of stained colon tissue: fat, lymphocytes, glands, muscle and tumour."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    coordinates,
    dots,
    filled,
    jittered_points,
    nearest_two,
    paint,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose, yes_no

TISSUES = ("adipose", "lymphocytes", "mucosa", "muscle", "tumor")

PINK, PALE, PURPLE, DEEP = (
    (0.90, 0.58, 0.72),
    (0.97, 0.94, 0.96),
    (0.45, 0.22, 0.56),
    (0.30, 0.12, 0.42),
)


def sample(rng: np.random.Generator) -> Facts:
    """Draws the tissue; what the yes/no questions ask follows from it."""
    tissue = choose(rng, TISSUES)
    facts = {
        "tissue": tissue,
        "tumor": yes_no(tissue == "tumor"),
        "crowded nuclei": yes_no(tissue in ("lymphocytes", "tumor")),
    }
    # A tumour grows glands of its own kind, so only the other tissues have a clear answer.
    if tissue != "tumor":
        facts["glands"] = yes_no(tissue == "mucosa")
    return facts


def _adipose(size: int, rng: np.random.Generator) -> np.ndarray:
    """Empty fat cells between thin pink walls, a nucleus squeezed here and there."""
    image_HWC = filled(size, PALE)
    first_HW, second_HW, _ = nearest_two(size, jittered_points(rng, 4, 0.35))
    paint(image_HWC, soft_mask(second_HW - first_HW - 0.07, 0.06), (0.85, 0.50, 0.66))
    return image_HWC


def _lymphocytes(size: int, rng: np.random.Generator) -> np.ndarray:
    """Small round dark nuclei, close together and all alike."""
    image_HWC = filled(size, (0.88, 0.74, 0.86))
    paint(image_HWC, dots(size, jittered_points(rng, 8, 0.38), 0.085), DEEP)
    return image_HWC


def _mucosa(size: int, rng: np.random.Generator) -> np.ndarray:
    """Round glands: a pale opening, a pale wall, and a ring of nuclei at its foot."""
    image_HWC = filled(size, PINK)
    first_HW, _, _ = nearest_two(size, jittered_points(rng, 2, 0.10))
    paint(image_HWC, soft_mask(first_HW - 0.42), PURPLE)
    paint(image_HWC, soft_mask(first_HW - 0.31), (0.90, 0.80, 0.92))
    paint(image_HWC, soft_mask(first_HW - 0.12), PALE)
    return image_HWC


def _muscle(size: int, rng: np.random.Generator) -> np.ndarray:
    """Parallel wavy pink fibres with few long nuclei lying along them."""
    x_HW, y_HW = coordinates(size)
    image_HWC = filled(size, (0.92, 0.50, 0.62))
    angle = rng.uniform(-0.5, 0.5)
    across_HW = np.cos(angle) * y_HW - np.sin(angle) * x_HW + 0.06 * np.sin(4.0 * x_HW)
    paint(image_HWC, soft_mask(0.2 - np.cos(across_HW * 24.0), 0.8), (0.74, 0.30, 0.48))
    along_HW = np.cos(angle) * x_HW + np.sin(angle) * y_HW
    for u, v in rng.uniform(-0.9, 0.9, (6, 2)):
        nucleus_HW = np.hypot((along_HW - u) / 0.16, (across_HW - v) / 0.05) - 1.0
        paint(image_HWC, soft_mask(nucleus_HW, 0.4), DEEP)
    return image_HWC


def _tumor(size: int, rng: np.random.Generator) -> np.ndarray:
    """Crowded large nuclei of every size on purple ground, with jagged clefts between them."""
    image_HWC = filled(size, (0.66, 0.38, 0.66))
    clefts_HW = np.abs(texture(rng, size, 4)) - 0.10
    points = jittered_points(rng, 6, 0.45)
    first_HW, _, index_HW = nearest_two(size, points)
    radius_HW = rng.uniform(0.08, 0.17, len(points)).astype(np.float32)[index_HW]
    paint(image_HWC, soft_mask(first_HW - radius_HW), (0.34, 0.10, 0.42))
    paint(image_HWC, soft_mask(first_HW - 0.35 * radius_HW), (0.58, 0.28, 0.60))
    paint(image_HWC, soft_mask(clefts_HW, 0.06), PALE)
    return image_HWC


DRAWERS = {
    "adipose": _adipose,
    "lymphocytes": _lymphocytes,
    "mucosa": _mucosa,
    "muscle": _muscle,
    "tumor": _tumor,
}


def draw(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a field of haematoxylin and eosin stained tissue."""
    stain_HW = 0.03 * texture(rng, size, 5) + 0.03 * texture(rng, size, 24)
    return DRAWERS[facts["tissue"]](size, rng) + stain_HW[..., None]


MODALITY = Modality("microscopy", "colon", False, "tissue", TISSUES, sample, draw)
