"""Declaration of one setting: default, meaning and possible values in one place."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from f3ocus_jax.config.checks import unknown

SETTING = "setting"
"""Key of a `Setting` in the metadata of a dataclass field."""


@dataclasses.dataclass(frozen=True)
class Setting:
    """Meaning and possible values of a setting. The bounds of a tuple hold for each member.

    Attributes:
      meaning: Meaning of the value, with its unit, as docs/settings.md prints it.
      at_least: Smallest possible value.
      above: Exclusive lower bound.
      at_most: Largest possible value.
      below: Exclusive upper bound.
      choices: Possible values: a registry, or a tuple.
      unit: Unit of the value, as in "bytes".
    """

    meaning: str
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Mapping[str, Any] | tuple[Any, ...] | None = None
    unit: str = ""

    def problem(self, value: Any) -> str | None:
        """Returns the end of the message for an impossible value; None for a possible one."""
        if self.choices is not None and value not in self.choices:
            if isinstance(self.choices, Mapping):
                return unknown(value, self.choices)
            return f" = {value!r}, must be {self.allowed()}"
        members = value if isinstance(value, tuple) else (value,)
        if all(self._is_inside(member) for member in members):
            return None
        if isinstance(value, tuple):
            return f" = {value!r}, must be {self._range(symbols=False)} each"
        return f" = {value!r}, must be {self.allowed()}"

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
