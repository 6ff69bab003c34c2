"""Differences between the hospitals' machines: display, blur, noise and prevalence."""

import dataclasses
import zlib

import numpy as np

from tfds_medvqa.phantom_medvqa.drawing.canvas import blur, coordinates

POLARITY_SHIFT = 0.5
"""Shift from which on half of the hospitals with a grey machine store inverted images."""

LARGEST_HUE = 2.0 * np.pi / 3.0
"""A third of a turn, which equals a cyclic permutation of the three channels."""


def client_rng(seed: int, client: str, *path: int) -> np.random.Generator:
    """Returns a client's random number generator, independent of the order of calls.

    Args:
      seed: Seed of the dataset.
      client: Name of the client.
      path: Purpose of the numbers, such as an image index.
    """
    return np.random.default_rng([seed, zlib.crc32(client.encode()), *path])


@dataclasses.dataclass(frozen=True)
class Acquisition:
    """One hospital's machine; the defaults change nothing.

    Attributes:
      inverted: True if bright and dark are exchanged.
      gamma: Exponent of the display curve.
      contrast: Factor about mid-grey.
      brightness: Offset after the contrast.
      hue: Rotation of all colours about the grey axis, in radians.
      tint: Factor of each channel, the only colour of a grey image.
      shading: Extra brightness of the right (if negative, the left) edge.
      blur: Standard deviation as a fraction of the image side.
      noise: Standard deviation of the pixel noise.
    """

    inverted: bool = False
    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    hue: float = 0.0
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shading: float = 0.0
    blur: float = 0.0
    noise: float = 0.02


def client_acquisition(seed: int, client: str, *, grey: bool, shift: float) -> Acquisition:
    """Draws a client's machine: its own display, stain or lamp, blur and noise.

    Sizes are drawn from the upper part of their range and only directions are free, so that at
    shift 1 every client is far from the shared machine of shift 0.

    Args:
      seed: Seed of the dataset.
      client: Name of the client.
      grey: True if the machine measures one channel; only then its polarity may be inverted.
      shift: Distance between the clients, in [0, 1].
    """
    rng = client_rng(seed, client, 1)
    signs = rng.choice((-1.0, 1.0), 4)
    sizes = rng.uniform(0.7, 1.0, 6)
    tint = 1.0 - 0.35 * shift * rng.permutation((0.0, 0.4, 1.0)) * sizes[5]
    return Acquisition(
        inverted=bool(rng.random() < 0.5) and grey and shift >= POLARITY_SHIFT,
        gamma=float(np.exp(shift * signs[0] * 0.4 * sizes[0])),
        contrast=float(1.0 - 0.3 * shift * sizes[1]),
        brightness=float(0.06 * shift * signs[1] * sizes[2]),
        hue=float(LARGEST_HUE * shift * signs[2] * sizes[3]),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
        shading=float(0.12 * shift * signs[3]),
        blur=float(0.012 * shift * sizes[4]),
        noise=float(0.02 + 0.03 * shift * rng.uniform(0.5, 1.0)),
    )


def hue_matrix(angle: float) -> np.ndarray:
    """Returns the rotation [3, 3] of colours about the grey axis (Rodrigues' formula)."""
    cosine, sine = np.cos(angle), np.sin(angle)
    axis = 1.0 / np.sqrt(3.0)
    cross = axis * np.array([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]])
    matrix = cosine * np.eye(3) + sine * cross + (1.0 - cosine) / 3.0
    return matrix.astype(np.float32)


def acquire(image_HWC: np.ndarray, machine: Acquisition, rng: np.random.Generator) -> np.ndarray:
    """Passes a drawn scene through a machine.

    Args:
      image_HWC: float32 scene, about [0, 1].
      machine: Machine of the hospital.
      rng: Random number generator of this image's noise and exposure.

    Returns:
      uint8 [H, W, 3].
    """
    size = len(image_HWC)
    x_HW, _ = coordinates(size)
    exposure = np.float32(rng.uniform(0.93, 1.07))
    image_HWC = np.clip(image_HWC * exposure, 0.0, 1.0) ** np.float32(machine.gamma)
    if machine.inverted:
        image_HWC = 1.0 - image_HWC
    image_HWC = image_HWC @ (hue_matrix(machine.hue).T * np.asarray(machine.tint, np.float32))
    image_HWC = (image_HWC - 0.5) * np.float32(machine.contrast) + 0.5 + machine.brightness
    image_HWC = image_HWC + np.float32(machine.shading) * x_HW[..., None]
    image_HWC = blur(image_HWC, machine.blur)
    noise_HW1 = rng.standard_normal((size, size, 1), np.float32)
    image_HWC = image_HWC + np.float32(machine.noise) * noise_HW1
    return np.rint(255.0 * np.clip(image_HWC, 0.0, 1.0)).astype(np.uint8)


def answer_shares(
    seed: int, client: str, fact: str, answers: tuple[str, ...], shift: float
) -> np.ndarray:
    """Draws the prevalence of each answer of a question at a client: float [answers], sum 1.

    At shift 0 all are equally likely. At shift 1 the most frequent is 4/3 as likely as the least
    for two answers and 5/2 times for more, and which is frequent differs per client and question.
    """
    ratio = 4.0 / 3.0 if len(answers) == 2 else 2.5
    rng = client_rng(seed, client, 2, zlib.crc32(fact.encode()))
    order = rng.permutation(len(answers))
    shares = ratio ** (shift * order / max(len(answers) - 1, 1))
    return shares / shares.sum()
