"""Drawing of a chest X-ray: lung fields, ribs, heart, and findings."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    coordinates,
    ellipse,
    outline,
    paint,
    rgb,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose, sign, yes_no

DIAGNOSES = ("normal", "consolidation", "effusion", "cardiomegaly")


def sample(rng: np.random.Generator) -> Facts:
    """Draws a diagnosis and, for what sits in one lung, its side of the picture."""
    diagnosis = choose(rng, DIAGNOSES)
    facts = {
        "diagnosis": diagnosis,
        "enlarged heart": yes_no(diagnosis == "cardiomegaly"),
        "opacity": yes_no(diagnosis in ("consolidation", "effusion")),
    }
    if diagnosis in ("consolidation", "effusion"):
        facts["side"] = choose(rng, ("left", "right"))
    return facts


def _lungs(size: int, rng: np.random.Generator) -> np.ndarray:
    """Returns the mask_HW of both lung fields, cut at the bottom by the domes of the diaphragm."""
    x_HW, y_HW = coordinates(size)
    spread, height = rng.uniform(0.40, 0.46), rng.uniform(0.66, 0.74)
    lungs = ellipse(size, (-spread, -0.02), (0.34, height), 0.10)
    lungs = np.maximum(lungs, ellipse(size, (spread, -0.02), (0.34, height), -0.10))
    dome_HW = 0.42 + 1.2 * (np.abs(x_HW) - 0.42) ** 2
    return lungs * soft_mask(y_HW - dome_HW, 0.05)


def _ribs(size: int) -> np.ndarray:
    """Returns ribs_HW in [0, 1], bright arcs that fall away from the spine."""
    x_HW, y_HW = coordinates(size)
    wave_HW = np.cos(2.0 * np.pi * 3.4 * (y_HW - 0.55 * (np.abs(x_HW) - 0.35) ** 2))
    return np.clip(wave_HW - 0.2, 0.0, 1.0)


def _paint_finding(
    image_HW: np.ndarray, lungs_HW: np.ndarray, facts: Mapping[str, str], rng: np.random.Generator
) -> None:
    """Paints a fluffy patch in one lung, or a rising fluid level at its bottom."""
    size = len(image_HW)
    x_HW, y_HW = coordinates(size)
    side = sign(facts.get("side"))
    if facts["diagnosis"] == "consolidation":
        center = (side * rng.uniform(0.38, 0.48), rng.uniform(-0.35, -0.05))
        waves = [(3, 0.15, rng.uniform(0, 6)), (5, 0.10, rng.uniform(0, 6))]
        patch_HW = outline(size, center, (0.25, 0.27), waves, softness=0.15)
        paint(image_HW, patch_HW * lungs_HW, 0.86)
    if facts["diagnosis"] == "effusion":
        # The fluid stands higher at the chest wall than at the heart: the meniscus.
        level_HW = rng.uniform(0.0, 0.15) - 0.5 * np.clip(side * x_HW - 0.4, 0.0, 1.0)
        fluid_HW = soft_mask(level_HW - y_HW, 0.06) * (side * x_HW > 0)
        # It hides the dome of the diaphragm, so the mask is wider than the lung that is left.
        base_HW = ellipse(size, (side * 0.44, 0.10), (0.36, 0.60), softness=0.06)
        paint(image_HW, fluid_HW * base_HW, 0.86)


def draw(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a frontal chest X-ray, air dark and bone bright."""
    x_HW, y_HW = coordinates(size)
    image_HW = np.full((size, size), 0.06, np.float32)
    thorax_HW = ellipse(size, (0.0, 0.35), (0.92, 1.25), softness=0.1)
    paint(image_HW, thorax_HW, 0.60)
    image_HW += 0.03 * texture(rng, size, 6) * thorax_HW
    lungs_HW = _lungs(size, rng)
    marks_HW = 0.15 + 0.20 * _ribs(size) + 0.03 * texture(rng, size, 14)
    image_HW += lungs_HW * (marks_HW - image_HW)
    paint(image_HW, soft_mask(np.abs(x_HW) - 0.12, 0.08) * thorax_HW, 0.74)
    clavicle_HW = np.abs(y_HW + 0.70 + 0.25 * (np.abs(x_HW) - 0.1)) - 0.035
    paint(image_HW, soft_mask(clavicle_HW, 0.05) * thorax_HW * (np.abs(x_HW) < 0.75), 0.78)
    width = rng.uniform(0.22, 0.27)
    enlarged = facts["diagnosis"] == "cardiomegaly"
    heart = (0.20, 0.22), (0.60, 0.36) if enlarged else (width, 0.28)
    paint(image_HW, ellipse(size, *heart, angle=0.35, softness=0.08), 0.80)
    _paint_finding(image_HW, lungs_HW, facts, rng)
    return rgb(image_HW)


MODALITY = Modality("x-ray", "chest", True, "diagnosis", DIAGNOSES, sample, draw)
