"""Drawing of an abdominal CT slice: the body in three planes, its organs, a lesion in one."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    Point,
    coordinates,
    ellipse,
    paint,
    rgb,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose

VIEWS = ("axial", "coronal", "sagittal")
ORGANS = ("liver", "spleen", "kidney")

BODIES: dict[str, Point] = {"axial": (0.94, 0.72), "coronal": (0.74, 1.05), "sagittal": (0.5, 1.05)}

# (organ, x, y, radius across, radius down, grey) in the order of painting. As a radiologist reads
# it, the liver is on the left of the picture; in the sagittal plane the spine is on its right.
SHAPES: dict[str, tuple[tuple[str, float, float, float, float, float], ...]] = {
    "axial": (
        ("stomach", 0.30, -0.34, 0.28, 0.18, 0.34),
        ("liver", -0.42, -0.10, 0.40, 0.40, 0.62),
        ("spleen", 0.64, 0.06, 0.19, 0.30, 0.66),
        ("kidney", -0.36, 0.38, 0.18, 0.18, 0.76),
        ("kidney", 0.36, 0.38, 0.18, 0.18, 0.76),
        ("aorta", 0.02, 0.16, 0.07, 0.07, 0.82),
        ("bone", 0.0, 0.42, 0.15, 0.13, 0.98),
    ),
    "coronal": (
        ("lung", -0.36, -0.92, 0.30, 0.30, 0.04),
        ("lung", 0.36, -0.92, 0.30, 0.30, 0.04),
        ("liver", -0.33, -0.36, 0.33, 0.30, 0.62),
        ("spleen", 0.45, -0.40, 0.18, 0.26, 0.66),
        ("kidney", -0.36, 0.22, 0.16, 0.25, 0.76),
        ("kidney", 0.36, 0.22, 0.16, 0.25, 0.76),
        ("bone", -0.48, 0.82, 0.16, 0.24, 0.96),
        ("bone", 0.48, 0.82, 0.16, 0.24, 0.96),
    ),
    "sagittal": (
        ("lung", -0.02, -0.92, 0.36, 0.26, 0.04),
        ("liver", -0.14, -0.36, 0.30, 0.32, 0.62),
        ("kidney", 0.06, 0.26, 0.17, 0.25, 0.76),
        ("bowel", -0.24, 0.30, 0.15, 0.36, 0.32),
    ),
}


def sample(rng: np.random.Generator) -> Facts:
    """Draws the plane and, in half of the slices, the organ that holds a lesion."""
    view = choose(rng, VIEWS)
    facts = {"view": view, "lesion": choose(rng, ("yes", "no"))}
    if facts["lesion"] == "yes":
        # A sagittal slice through liver and right kidney does not meet the spleen.
        facts["organ"] = choose(rng, ORGANS[::2] if view == "sagittal" else ORGANS)
    return facts


def _paint_spine(image_HW: np.ndarray, view: str) -> None:
    """Paints the column of vertebrae that the two upright planes cut lengthwise."""
    x_HW, y_HW = coordinates(len(image_HW))
    if view == "axial":
        paint(image_HW, ellipse(len(image_HW), (0.0, 0.42), (0.05, 0.05)), 0.30)
        return
    center_HW = 0.0 if view == "coronal" else 0.30 - 0.10 * np.cos(2.0 * y_HW)
    disc_HW = np.cos(2.0 * np.pi * 2.6 * y_HW) > -0.75
    column_HW = soft_mask(np.abs(x_HW - center_HW) - 0.10, 0.04) * (np.abs(y_HW) < 0.95)
    paint(image_HW, column_HW, 0.55)
    paint(image_HW, column_HW * disc_HW, 0.98)


def _lesion_center(facts: Mapping[str, str], rng: np.random.Generator) -> Point:
    """Draws a centre inside the organ; of two kidneys, either."""
    shapes = [shape for shape in SHAPES[facts["view"]] if shape[0] == facts["organ"]]
    _, x, y, across, down, _ = shapes[int(rng.integers(len(shapes)))]
    wander = 0.35 if facts["organ"] == "liver" else 0.12
    return x + across * rng.uniform(-wander, wander), y + down * rng.uniform(-wander, wander)


def draw(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a slice with contrast medium: air black, fat dark, organs grey, bone white."""
    view = facts["view"]
    image_HW = np.full((size, size), 0.02, np.float32)
    scale = rng.uniform(0.94, 1.0)
    across, down = (scale * radius for radius in BODIES[view])
    body_HW = ellipse(size, (0.0, 0.0), (across, down))
    paint(image_HW, body_HW, 0.20)
    paint(image_HW, ellipse(size, (0.0, 0.0), (across - 0.09, down - 0.08)), 0.42)
    image_HW += 0.05 * texture(rng, size, 9) * body_HW
    for _, x, y, radius_across, radius_down, grey in SHAPES[view]:
        growth = rng.uniform(0.94, 1.06)
        radii = (radius_across * growth, radius_down * growth)
        paint(image_HW, ellipse(size, (x, y), radii) * body_HW, grey)
    _paint_spine(image_HW, view)
    image_HW += 0.02 * texture(rng, size, 24) * body_HW
    if facts["lesion"] == "yes":
        center = _lesion_center(facts, rng)
        radius = rng.uniform(0.17, 0.20)
        paint(image_HW, ellipse(size, center, (radius + 0.04, radius + 0.04)), 1.0)
        paint(image_HW, ellipse(size, center, (radius, radius)), 0.02)
    return rgb(image_HW)


MODALITY = Modality("ct", "abdomen", True, "view", VIEWS, sample, draw)
