"""Fixed-point numbers modulo a power of two, whose sum over all sites of a round cannot wrap."""

import dataclasses

import numpy as np

EXACT = 2**53
"""Integers up to here are exact in float64."""


@dataclasses.dataclass(frozen=True)
class FixedPoint:
    """Integers that stand for numbers of one round.

    Attributes:
      bits: Size of an integer, b: 16, 32 or 64; they are added modulo 2^b.
      largest: Largest absolute number; larger ones are clipped.
      sites: Largest number of sites whose integers are added.
    """

    bits: int
    largest: float
    sites: int

    @property
    def dtype(self) -> str:
        """NumPy's name of the integers' type."""
        return f"uint{self.bits}"

    @property
    def levels(self) -> int:
        """Largest integer of one site; the sum over all sites is below 2^(b-1)."""
        return min((2 ** (self.bits - 1) - 1) // self.sites, EXACT)

    @property
    def step(self) -> float:
        """Distance of neighbouring numbers; the error of one that is not clipped is half of it."""
        return self.largest / self.levels

    def encode(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Rounds finite numbers to integers.

        Args:
          values: Numbers of any shape.

        Returns:
          (integers modulo 2^b, number of values that were clipped).
        """
        values = np.asarray(values, np.float64)
        clipped = int(np.count_nonzero(np.abs(values) > self.largest))
        inside = np.clip(np.rint(values / self.step), -self.levels, self.levels)
        return inside.astype(np.int64).astype(self.dtype), clipped


def signed(total: np.ndarray) -> np.ndarray:
    """Returns sums of integers modulo 2^b as the integers that they stand for, with a sign."""
    return total.view(f"int{8 * total.dtype.itemsize}")
