"""Drawing of the eye: retinal layers (OCT) and the fundus."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    coordinates,
    dots,
    ellipse,
    filled,
    paint,
    rgb,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose, sign, yes_no

OCT_DIAGNOSES = ("normal", "drusen", "macular edema")
GRADES = ("grade 0", "grade 1", "grade 2", "grade 3", "grade 4")
HAEMORRHAGES = {"grade 0": 0, "grade 1": 2, "grade 2": 6, "grade 3": 14, "grade 4": 14}

# Depth inside the retina (0 at its surface, 1 at the pigment epithelium) and its brightness there:
# nerve fibres, inner and outer nuclear layers, photoreceptors, epithelium, then the choroid.
LAYER_DEPTHS = (-0.06, 0.0, 0.16, 0.22, 0.42, 0.50, 0.58, 0.78, 0.84, 0.90, 1.0, 1.12, 1.2, 2.2)
LAYER_GREYS = (0.05, 0.80, 0.75, 0.45, 0.50, 0.30, 0.45, 0.22, 0.60, 0.50, 0.98, 0.98, 0.45, 0.12)


def sample_oct(rng: np.random.Generator) -> Facts:
    """Draws a diagnosis, the side of what is abnormal, and whether the foveal pit is there."""
    diagnosis = choose(rng, OCT_DIAGNOSES)
    facts = {
        "diagnosis": diagnosis,
        "fluid": yes_no(diagnosis == "macular edema"),
        "pit": choose(rng, ("yes", "no")),
    }
    if diagnosis != "normal":
        facts["side"] = choose(rng, ("left", "right"))
    return facts


def draw_oct(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a cross-section of the retina, vitreous above and choroid below."""
    x_HW, y_HW = coordinates(size)
    tilt, bow, height = rng.uniform(-0.08, 0.08), rng.uniform(0.0, 0.12), rng.uniform(-0.1, 0.05)
    speckle_HW = 1.0 + 0.18 * texture(rng, size, 32)
    position_x = sign(facts.get("side")) * rng.uniform(0.48, 0.56)
    base_HW = 0.38 + height + tilt * x_HW + bow * x_HW**2
    surface_HW = base_HW - 0.62
    if facts["pit"] == "yes":
        surface_HW = surface_HW + 0.34 * np.exp(-((x_HW / 0.20) ** 2))
    if facts["diagnosis"] == "macular edema":
        surface_HW = surface_HW - 0.40 * np.exp(-(((x_HW - position_x) / 0.34) ** 2))
    if facts["diagnosis"] == "drusen":
        humps_HW = np.sqrt(np.clip(np.cos((x_HW - position_x) * 2.0 * np.pi / 0.36), 0.0, 1.0))
        base_HW = base_HW - 0.26 * humps_HW * (np.abs(x_HW - position_x) < 0.45)
    depth_HW = (y_HW - surface_HW) / np.maximum(base_HW - surface_HW, 0.1)
    image_HW = np.interp(depth_HW, LAYER_DEPTHS, LAYER_GREYS).astype(np.float32)
    if facts["diagnosis"] == "macular edema":
        for shift_x, shift_y, radius in (
            (-0.20, 0.02, 0.16),
            (0.14, -0.10, 0.20),
            (0.04, 0.23, 0.12),
        ):
            center = (position_x + shift_x, height - 0.12 + shift_y)
            paint(image_HW, ellipse(size, center, (radius, radius * 1.1)), 0.02)
    return rgb(image_HW * speckle_HW)


def sample_fundus(rng: np.random.Generator) -> Facts:
    """Draws the grade of retinopathy, the side of the optic disc, and whether fat has leaked."""
    grade = choose(rng, GRADES)
    facts = {
        "grade": grade,
        "retinopathy": yes_no(grade != "grade 0"),
        "disc side": choose(rng, ("left", "right")),
    }
    # Exudates belong to a diseased eye, so the question is only fair where there is disease.
    if grade != "grade 0":
        facts["exudates"] = choose(rng, ("yes", "no"))
    return facts


def _vessels(size: int, disc_x: float, rng: np.random.Generator) -> np.ndarray:
    """Returns the mask_HW of the arcades, which leave the disc and bend around the macula."""
    x_HW, y_HW = coordinates(size)
    along_HW = -np.sign(disc_x) * (x_HW - disc_x)
    mask_HW = np.zeros((size, size), np.float32)
    for half in (-1.0, 1.0):
        for bend, reach, width in ((0.62, 1.0, 0.030), (0.30, 0.6, 0.022)):
            bend = half * bend * rng.uniform(0.9, 1.1)
            course_HW = bend * np.sqrt(np.clip(along_HW, 0.0, 2.0))
            stroke_HW = soft_mask(np.abs(y_HW - course_HW) - width)
            mask_HW = np.maximum(mask_HW, stroke_HW * (along_HW > 0) * (along_HW < 1.4 * reach))
        nasal_HW = half * 0.9 * np.sqrt(np.clip(-along_HW, 0.0, 2.0))
        mask_HW = np.maximum(mask_HW, soft_mask(np.abs(y_HW - nasal_HW) - 0.025) * (along_HW < 0))
    return mask_HW


def _bleeding_points(count: int, disc_x: float, rng: np.random.Generator) -> np.ndarray:
    """Draws points [count, 2] spread evenly in angle around the picture's middle, off the disc."""
    turn = rng.uniform(0.0, 2.0 * np.pi)
    angle = turn + np.arange(count) * 2.4 + rng.uniform(-0.15, 0.15, count)
    radius = np.sqrt((np.arange(count) + 1.2) / max(count + 1, 3)) * 0.74
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    off_disc = np.hypot(points[:, 0] - disc_x, points[:, 1]) < 0.24
    points[off_disc, 1] += 0.4
    return points


def draw_fundus(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws the back of the eye with as many bleedings as its grade says."""
    x_HW, y_HW = coordinates(size)
    image_HWC = filled(size, (0.92, 0.50, 0.24))
    image_HWC *= (1.0 - 0.30 * (x_HW**2 + y_HW**2) + 0.05 * texture(rng, size, 6))[..., None]
    disc_x = sign(facts["disc side"]) * rng.uniform(0.46, 0.54)
    paint(
        image_HWC, ellipse(size, (-0.4 * disc_x, 0.0), (0.18, 0.18), softness=0.2), (0.5, 0.2, 0.1)
    )
    paint(image_HWC, 0.7 * _vessels(size, disc_x, rng), (0.60, 0.16, 0.10))
    paint(image_HWC, ellipse(size, (disc_x, 0.0), (0.17, 0.19), softness=0.06), (1.0, 0.88, 0.55))
    points = _bleeding_points(HAEMORRHAGES[facts["grade"]], disc_x, rng)
    paint(image_HWC, dots(size, points, 0.115), (0.22, 0.01, 0.02))
    if facts["grade"] == "grade 4":
        # Blood that settles in front of the retina: a boat with a level top.
        boat_HW = ellipse(size, (0.0, 0.35), (0.60, 0.50)) * soft_mask(0.35 - y_HW)
        paint(image_HWC, boat_HW, (0.20, 0.0, 0.02))
    if facts.get("exudates") == "yes":
        cluster = jittered_ring(rng) + np.array([-0.3 * np.sign(disc_x), -0.35])
        paint(image_HWC, dots(size, cluster, 0.07), (1.0, 0.95, 0.35))
    paint(image_HWC, 1.0 - ellipse(size, (0.0, 0.0), (0.96, 0.96)), (0.01, 0.01, 0.01))
    return image_HWC


def jittered_ring(rng: np.random.Generator) -> np.ndarray:
    """Draws five points [5, 2] of a cluster about the origin."""
    angle = np.arange(5) * 1.257 + rng.uniform(0.0, 1.0)
    radius = rng.uniform(0.12, 0.2, 5)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


OCT = Modality("oct", "retina", True, "diagnosis", OCT_DIAGNOSES, sample_oct, draw_oct)
FUNDUS = Modality(
    "fundus photography", "retina", False, "grade", GRADES, sample_fundus, draw_fundus
)
