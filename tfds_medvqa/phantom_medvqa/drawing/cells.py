"""Drawing of cells: a blood smear and fluorescent kidney cortex."""

from collections.abc import Mapping

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import (
    Point,
    coordinates,
    dots,
    ellipse,
    filled,
    jittered_points,
    outline,
    paint,
    rgb,
    soft_mask,
    texture,
)
from tfds_medvqa.phantom_medvqa.drawing.facts import Facts, Modality, choose, sign, yes_no

BLOOD_CELLS = ("neutrophils", "lymphocytes", "eosinophils", "platelets")
STRUCTURES = ("glomerulus", "proximal tubule", "collecting duct", "leukocytes")

NUCLEUS = (0.36, 0.14, 0.52)
PLATELET_PLACES = np.array([(-0.18, -0.3), (0.2, -0.2), (-0.05, 0.02), (0.2, 0.28), (-0.2, 0.32)])
NEUTROPHIL_LOBES = np.array([(-0.22, -0.18), (0.16, -0.24), (0.24, 0.12), (-0.06, 0.24)])
EOSINOPHIL_LOBES = np.array([(-0.20, -0.04), (0.20, 0.02)])


def sample_blood(rng: np.random.Generator) -> Facts:
    """Draws the cell and its side; a platelet has no nucleus, a lymphocyte an undivided one."""
    cell = choose(rng, BLOOD_CELLS)
    facts = {
        "cell": cell,
        "nucleus": yes_no(cell != "platelets"),
        "granules": yes_no(cell == "eosinophils"),
        "side": choose(rng, ("left", "right")),
    }
    if cell != "platelets":
        facts["lobed"] = yes_no(cell != "lymphocytes")
    return facts


def _paint_blood_cell(image_HWC: np.ndarray, cell: str, rng: np.random.Generator, x: float) -> None:
    """Paints one white cell, or a handful of platelets, around x."""
    size, y = len(image_HWC), rng.uniform(-0.12, 0.12)
    center = np.array((x, y))
    if cell == "platelets":
        paint(image_HWC, dots(size, PLATELET_PLACES + center, 0.095), (0.50, 0.28, 0.66))
        return
    if cell == "lymphocytes":
        paint(image_HWC, ellipse(size, (x, y), (0.42, 0.42)), (0.62, 0.70, 0.92))
        paint(image_HWC, ellipse(size, (x, y), (0.34, 0.35)), NUCLEUS)
        return
    if cell == "neutrophils":
        paint(image_HWC, ellipse(size, (x, y), (0.50, 0.50)), (0.90, 0.80, 0.90))
        paint(image_HWC, dots(size, NEUTROPHIL_LOBES + center, 0.17), NUCLEUS)
        return
    paint(image_HWC, ellipse(size, (x, y), (0.50, 0.50)), (0.96, 0.62, 0.42))
    spots = jittered_points(rng, 6, 0.3) * 0.48
    spots = spots[np.hypot(*spots.T) < 0.44] + center
    paint(image_HWC, dots(size, spots, 0.06), (0.92, 0.30, 0.10))
    paint(image_HWC, dots(size, EOSINOPHIL_LOBES + center, 0.18), NUCLEUS)


def draw_blood(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a stained smear: pale red cells around the cell that is asked for."""
    image_HWC = filled(size, (0.97, 0.92, 0.88))
    image_HWC += 0.015 * texture(rng, size, 12)[..., None]
    x = sign(facts["side"]) * rng.uniform(0.34, 0.42)
    red_cells = jittered_points(rng, 4, 0.12) * 1.05
    # Red cells make room for the cell in question.
    red_cells = red_cells[np.hypot(red_cells[:, 0] - x, red_cells[:, 1]) > 0.70]
    paint(image_HWC, dots(size, red_cells, 0.23), (0.90, 0.60, 0.58))
    paint(image_HWC, dots(size, red_cells, 0.09), (0.95, 0.78, 0.74))
    _paint_blood_cell(image_HWC, facts["cell"], rng, x)
    return image_HWC


def sample_kidney(rng: np.random.Generator) -> Facts:
    """Draws the structure and the half of the picture that it lies in."""
    structure = choose(rng, STRUCTURES)
    return {
        "structure": structure,
        "lumen": yes_no(structure in ("proximal tubule", "collecting duct")),
        "side": choose(rng, ("left", "right")),
    }


def _tubule(image_HW: np.ndarray, center: Point, radius: float, lumen: float) -> None:
    """Paints a ring of bright wall around a dark opening."""
    size = len(image_HW)
    paint(image_HW, ellipse(size, center, (radius, radius), softness=0.06), 0.80)
    paint(image_HW, ellipse(size, center, (lumen, lumen), softness=0.06), 0.06)


def _paint_structure(image_HW: np.ndarray, name: str, rng: np.random.Generator, x: float) -> None:
    """Paints one structure of the cortex around x."""
    size, y = len(image_HW), rng.uniform(-0.1, 0.1)
    if name == "glomerulus":
        paint(image_HW, ellipse(size, (x, y), (0.58, 0.58)), 0.55)
        paint(image_HW, ellipse(size, (x, y), (0.53, 0.53)), 0.02)
        paint(image_HW, outline(size, (x, y), (0.42, 0.42), [(6, 0.08, x)]), 0.55)
        capillaries = jittered_points(rng, 5, 0.3) * 0.42
        capillaries = capillaries[np.hypot(*capillaries.T) < 0.40] + np.array((x, y))
        paint(image_HW, dots(size, capillaries, 0.06), 1.0)
    elif name == "proximal tubule":
        for shift_x, shift_y in ((-0.25, -0.42), (0.25, -0.20), (-0.22, 0.18), (0.22, 0.45)):
            _tubule(image_HW, (x + shift_x, y + shift_y), 0.25, 0.08)
    elif name == "collecting duct":
        _tubule(image_HW, (x, y), 0.48, 0.34)
        angle = np.arange(9) * 2.0 * np.pi / 9.0
        wall = 0.41 * np.stack([np.cos(angle), np.sin(angle)], axis=-1) + np.array((x, y))
        paint(image_HW, dots(size, wall, 0.06), 1.0)
    else:
        cells = jittered_points(rng, 4, 0.3) * np.array((0.48, 0.75)) + np.array((x, y))
        paint(image_HW, dots(size, cells, 0.075), 1.0)


def draw_kidney(facts: Mapping[str, str], rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws a fluorescence picture: dark ground, faint stroma, bright structures."""
    x_HW, _ = coordinates(size)
    image_HW = 0.16 + 0.05 * texture(rng, size, 10) + 0.03 * texture(rng, size, 28)
    x = sign(facts["side"]) * rng.uniform(0.40, 0.46)
    # Stroma glows faintly on the structure's side, as thick tissue does.
    image_HW += 0.08 * soft_mask(np.abs(x_HW - x) - 0.5, 0.6)
    _paint_structure(image_HW, facts["structure"], rng, x)
    return rgb(image_HW)


BLOOD = Modality("microscopy", "blood", False, "cell", BLOOD_CELLS, sample_blood, draw_blood)
KIDNEY = Modality("microscopy", "kidney", True, "structure", STRUCTURES, sample_kidney, draw_kidney)
