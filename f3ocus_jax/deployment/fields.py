"""Checks of the fields in a message's header: one test for each kind of value."""

import dataclasses
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from tfds_medvqa.common.printable import printable

LONGEST = 60
"""Characters of a refused value that are quoted."""

LONGEST_TEXT = 400
"""Characters of a text in a header, apart from packed bits."""

MOST_FACTS = 1000
"""Entries of a mapping of names to hashes."""

_SHA256 = re.compile("[0-9a-f]{64}")

MAY_BE_UNKNOWN = "loss"
"""Metric that may be null in a message, which stands for a number that is not finite."""


class RefusedError(ValueError):
    """Part of a message that is refused; `wire.decode` adds the site and the message."""


Fields: TypeAlias = Mapping[str, Any]
"""Fields of a header by name."""


@dataclasses.dataclass(frozen=True)
class Field:
    """One field of a header.

    Attributes:
      test: Maps a value, as JSON has it, to True if it is allowed.
      allowed: Allowed values in words.
    """

    test: Callable[[Any], bool]
    allowed: str


def check(values: Any, fields: Mapping[str, Field]) -> None:
    """Checks the fields of a header.

    Args:
      values: Name to value, as JSON has them.
      fields: The fields that there must be, and no others.

    Raises:
      RefusedError: If a field is absent, unknown or has another value.
    """
    if not isinstance(values, dict):
        raise RefusedError(f"its fields are {quoted(values)}, must be an object")
    require_names("fields", values, fields)
    for name, field in fields.items():
        if not field.test(values[name]):
            raise RefusedError(f"{name} = {quoted(values[name])}, must be {field.allowed}")


def require_names(what: str, given: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises RefusedError unless two mappings have the same names."""
    unknown, absent = given.keys() - wanted.keys(), wanted.keys() - given.keys()
    if unknown:
        raise RefusedError(f"unknown {what}: {quoted(min(unknown))}")
    if absent:
        raise RefusedError(f"{what} are absent: {quoted(min(absent))}")


def quoted(value: Any) -> str:
    """Returns a value as one short line."""
    return printable(repr(value)[: 4 * LONGEST], LONGEST)


def is_count(value: Any) -> bool:
    """Returns True for a whole number >= 0."""
    return type(value) is int and 0 <= value < 2**31


def one_of(*texts: str) -> Field:
    """Returns the field of a text that is one of some."""
    return Field(lambda value: isinstance(value, str) and value in texts, f"one of {texts}")


def _is_name(value: Any) -> bool:
    """Returns True for a text that can be written; names come from data, in any script."""
    is_short = isinstance(value, str) and len(value) <= LONGEST_TEXT
    return is_short and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_text(value: Any) -> bool:
    return _is_name(value) and printable(value) == value


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_metric(name: Any, value: Any) -> bool:
    return _is_name(name) and (_is_number(value) or (value is None and name == MAY_BE_UNKNOWN))


def _is_fact(name: Any, value: Any) -> bool:
    return _is_text(name) and isinstance(value, str) and _SHA256.fullmatch(value) is not None


FLAG = Field(lambda value: type(value) is bool, "true or false")
COUNT = Field(is_count, "a whole number >= 0")
COUNTS = Field(
    lambda value: isinstance(value, list) and all(map(is_count, value)),
    "a list of whole numbers >= 0",
)
COUNT_OR_NONE = Field(lambda value: value is None or is_count(value), "a whole number or null")
SINCE = Field(lambda value: value == -1 or is_count(value), "a whole number >= -1")
TEXT = Field(_is_text, f"a text of one line and at most {LONGEST_TEXT} characters")
NAME = Field(_is_name, f"a text of at most {LONGEST_TEXT} characters")
NAMES = Field(
    lambda value: (
        isinstance(value, list) and all(map(_is_name, value)) and value == sorted(set(value))
    ),
    "a list of names, ascending",
)
NUMBERS = Field(
    lambda value: isinstance(value, list) and all(map(_is_number, value)),
    "a list of finite numbers",
)
METRICS = Field(
    lambda value: isinstance(value, dict) and all(_is_metric(name, value[name]) for name in value),
    f"names with finite numbers, or null for {MAY_BE_UNKNOWN}",
)
FACTS = Field(
    lambda value: (
        isinstance(value, dict)
        and len(value) <= MOST_FACTS
        and all(_is_fact(name, value[name]) for name in value)
    ),
    f"at most {MOST_FACTS} names, each with a SHA-256 in hexadecimal digits",
)
PACKED = Field(lambda value: isinstance(value, str) and value.isascii(), "packed bits")
