"""Declaration of one setting: default, meaning and possible values in one place."""

import dataclasses
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from f3ocus_jax.config import paths
from f3ocus_jax.config.checks import unknown

SETTING = "setting"
"""Key of a `Setting` in the metadata of a dataclass field."""

DEFAULT = object()
"""Mark for a value that is the default."""

SMALLEST, LARGEST = 2.0**-126, (2 - 2.0**-23) * 2.0**127
"""Positive numbers that float32 holds with full precision; a smaller one may count as 0."""

SEED: Mapping[str, Any] = {
    "at_most": 2**32 - 1,
    "bits": 64,
    "because": "random keys take the lowest 32 bits of a seed",
}
"""Upper bound of a seed, as arguments of `setting`."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Meaning and possible values of a setting. The bounds of a tuple hold for each member.

    Beside the declared range, an integer must fit into its bits, a float must be a finite number of
    float32, and text must be printable.

    Attributes:
      meaning: Meaning of the value, with its unit, as docs/settings.md prints it.
      at_least: Smallest possible value.
      above: Exclusive lower bound.
      at_most: Largest possible value.
      below: Exclusive upper bound.
      choices: Possible values: a registry, or a tuple.
      unit: Unit of the value, as in "bytes".
      bits: Size of the signed integers that the value becomes.
      because: Reason for the bounds, for the message.
      path: Kind of path that the value is; None for a value that is no path.
      earlier: Value of runs that were written before the setting existed; `DEFAULT` where the
        default keeps what was done before.
    """

    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Mapping[str, Any] | tuple[Any, ...] | None = None
    unit: str = ""
    bits: int = 32
    because: str = ""
    path: paths.Kind | None = None
    earlier: Any = DEFAULT

    def normalised(self, value: Any) -> Any:
        """Returns the value that a run uses: a path without "~", any other value as it is."""
        if self.path is None:
            return value
        if isinstance(value, tuple):
            return tuple(self.normalised(member) for member in value)
        return paths.normalised(value, self.path)

    def problem(self, value: Any) -> str | None:
        """Returns the end of the message for an impossible value; None for a possible one."""
        if self.choices is not None and value not in self.choices:
            if isinstance(self.choices, Mapping):
                return unknown(value, self.choices)
            return f" = {value!r}, must be {self.allowed()}"
        members = value if isinstance(value, tuple) else (value,)
        because = f", since {self.because}" if self.because else ""
        if not all(self._is_inside(member) for member in members):
            if isinstance(value, tuple):
                return f" = {value!r}, must be {self._range(symbols=False)} each{because}"
            return f" = {value!r}, must be {self.allowed()}{because}"
        if self.path is not None:
            for member in members:
                if problem := paths.problem(member, self.path):
                    return f" = {value!r}, must be {problem}"
        return next((problem for part in _parts(value) if (problem := self._unusable(part))), None)

    def allowed(self) -> str:
        """Returns the possible values in words; "" where every value is possible."""
        if self.choices is not None:
            return f"one of {tuple(self.choices)}"
        text = self._range(symbols=True)
        return f"{text}, in {self.unit}" if text and self.unit else text

    def _is_inside(self, value: Any) -> bool:
        # Written so that NaN is outside of every range.
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def _unusable(self, value: Any) -> str | None:
        """Returns the end of the message for a number or text that no setting can have."""
        if isinstance(value, int) and not -(2 ** (self.bits - 1)) <= value < 2 ** (self.bits - 1):
            return f" = {value!r}, must be an integer of {self.bits} bits"
        if isinstance(value, float) and not abs(value) <= LARGEST:
            return f" = {value!r}, must be a finite number of float32"
        if isinstance(value, float) and 0 < abs(value) < SMALLEST:
            return f" = {value!r}, must be 0 or at least {SMALLEST:.3g}, the smallest float32"
        if isinstance(value, str) and any(
            unicodedata.category(one) in ("Cc", "Cs") for one in value
        ):
            return f" = {value!r}, must be text without control characters"
        return None

    def _range(self, *, symbols: bool) -> str:
        if self.above is not None and self.below is not None:
            return f"between {self.above} and {self.below}"
        bounds = [
            ("at least", ">=", self.at_least),
            ("above", ">", self.above),
            ("at most", "<=", self.at_most),
            ("below", "<", self.below),
        ]
        given = [(word, symbol, bound) for word, symbol, bound in bounds if bound is not None]
        if len(given) == 1 and symbols:
            return f"{given[0][1]} {given[0][2]}"
        return " and ".join(f"{word} {bound}" for word, _, bound in given)


def _parts(value: Any) -> Iterator[Any]:
    """Yields the numbers and texts of a value, with the names of a mapping."""
    if isinstance(value, Mapping):
        value = (*value.keys(), *value.values())
    if isinstance(value, tuple | list):
        for member in value:
            yield from _parts(member)
    else:
        yield value


def setting(default: Any, meaning: str, **possible: Any) -> Any:
    """Declares a setting of a `Section`.

    Args:
      default: Value where none is given.
      meaning: Meaning of the value; see `Setting`.
      **possible: Range or choices; see `Setting`.

    Returns:
      A dataclass field.
    """
    metadata = {SETTING: Setting(meaning, **possible)}
    if isinstance(default, Mapping):
        return dataclasses.field(default_factory=lambda: dict(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def settings_of(kind: Any) -> Iterable[tuple[str, Setting]]:
    """Returns the declared settings of a section, by name; its subsections are left out."""
    return [
        (field.name, field.metadata[SETTING])
        for field in dataclasses.fields(kind)
        if SETTING in field.metadata
    ]
