"""Axes of the charts: place of a value, and ticks at round numbers."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Distances between two ticks, times a power of ten."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of a chart.

    Attributes:
      low: Value at `start`.
      high: Value at `end`; above `low`.
      start: Place of `low`, in units of the picture.
      end: Place of `high`.
      log: True for a logarithmic axis of positive values.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def place(self, value: float) -> float:
        """Returns the place of a value, rounded to a tenth.

        >>> Axis(0, 10, 100, 0).place(2.5), Axis(0.01, 1, 0, 50, log=True).place(0.1)
        (75.0, 25.0)
        """
        low, high = (
            (math.log10(self.low), math.log10(self.high))
            if self.log
            else (
                self.low,
                self.high,
            )
        )
        value = math.log10(max(value, self.low)) if self.log else value
        share = (value - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int) -> list[float]:
        """Returns the values to label, at most `most` of them where the axis is linear.

        >>> Axis(0, 10, 0, 1).ticks(6), Axis(0.001, 1, 0, 1, log=True).ticks(9)
        ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0], [0.001, 0.01, 0.1, 1.0])
        """
        if self.log:
            lowest, highest = math.ceil(math.log10(self.low) - 1e-9), math.log10(self.high) + 1e-9
            powers = range(lowest, math.floor(highest) + 1)
            return [10.0**power for power in powers[:: -(-len(powers) // most) or 1]]
        step = _step((self.high - self.low) / max(most - 1, 1))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]


def span(values: Iterable[float], *, log: bool = False) -> tuple[float, float]:
    """Returns a range with round ends that holds all values.

    Args:
      values: Finite values, and NaN, which is ignored.
      log: True for powers of ten; values that are not positive are then ignored.

    Returns:
      (low, high), low < high.

    >>> span([0.31, 0.58]), span([2, 2]), span([0.003, 0.2], log=True)
    ((0.3, 0.6), (1.0, 3.0), (0.001, 1.0))
    """
    found = [value for value in values if math.isfinite(value) and (value > 0 or not log)]
    if not found:
        return (0.1, 1.0) if log else (0.0, 1.0)
    low, high = min(found), max(found)
    if log:
        low, high = math.floor(math.log10(low) + 1e-9), math.ceil(math.log10(high) - 1e-9)
        return 10.0**low, 10.0 ** max(high, low + 1)
    if low == high:
        return low - (abs(low) / 2 or 1.0), high + (abs(high) / 2 or 1.0)
    step = _step((high - low) / 4)
    return (
        round(math.floor(low / step + 1e-9) * step, 10),
        round(math.ceil(high / step - 1e-9) * step, 10),
    )


def whole_ticks(numbers: Sequence[int], most: int) -> list[int]:
    """Returns the whole numbers of a range to label.

    >>> whole_ticks([0, 10], 6), whole_ticks([3, 4], 6), whole_ticks([5], 6)
    ([0, 2, 4, 6, 8, 10], [3, 4], [5])
    """
    low, high = min(numbers), max(numbers)
    step = max(1, math.ceil(_step((high - low) / max(most - 1, 1)))) if high > low else 1
    return list(range(-(-low // step) * step, high + 1, step))


def _step(least: float) -> float:
    """Returns the smallest round number that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in STEPS if step * power >= least * (1 - 1e-9))
