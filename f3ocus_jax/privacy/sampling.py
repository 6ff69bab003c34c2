"""Poisson sampling of a client's examples: each is in a batch by a coin of its own.

This is what the accountant assumes. Batches have different sizes; they are padded to one width, and
none is ever cut.
"""

import numpy as np
from scipy import stats

BEYOND = 1e-9
"""Probability with which a batch is larger than planned, which compiles another program."""


def sampling_rate(num_examples: int, batch_size: int) -> float:
    """Returns q, the probability with which each example is in a batch: at most 1.

    Args:
      num_examples: N, number of training examples.
      batch_size: Expected number of examples in a batch.
    """
    return min(1.0, batch_size / num_examples)


def planned_width(num_examples: int, batch_size: int) -> int:
    """Returns the width that holds all batches but one in 1 / `BEYOND`; at most N."""
    rate = sampling_rate(num_examples, batch_size)
    return min(num_examples, int(stats.binom.isf(BEYOND, num_examples, rate)))


def draw_members(
    draw: np.random.Generator, num_examples: int, steps: int, batch_size: int
) -> list[np.ndarray]:
    """Draws the examples of each step.

    Args:
      draw: Random number generator that nobody else can repeat.
      num_examples: N, number of training examples.
      steps: S, number of batches.
      batch_size: Expected number of examples in a batch.

    Returns:
      Indices of each step's examples, ascending.
    """
    rate = sampling_rate(num_examples, batch_size)
    return [np.flatnonzero(draw.random(num_examples) < rate) for _ in range(steps)]


def pad_members(members: list[np.ndarray], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Pads batches to one width.

    Args:
      members: Indices of each step's examples.
      width: W, at least the largest number of them.

    Returns:
      (indices_SW int64, mask_SW float32); padding has index 0 and mask 0.
    """
    indices_SW = np.zeros((len(members), width), np.int64)
    mask_SW = np.zeros((len(members), width), np.float32)
    for row_W, on_W, some in zip(indices_SW, mask_SW, members, strict=True):
        row_W[: len(some)] = some
        on_W[: len(some)] = 1.0
    return indices_SW, mask_SW
