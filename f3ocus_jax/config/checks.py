"""Refusal of a setting, in one line that says what was given and what is allowed."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from f3ocus_jax.errors import ConfigError


def require(condition: bool, name: str, given: object, allowed: str) -> None:
    """Raises ConfigError unless a setting is possible.

    Args:
      condition: True if the setting is possible.
      name: Dotted name of the setting.
      given: Value of the setting.
      allowed: Possible values, as the end of "..., must be ...".

    Raises:
      ConfigError: if `condition` is false.
    """
    if not condition:
        raise ConfigError(f"config.{name} = {given!r}, must be {allowed}")


def choose(name: str, given: str, known: Mapping[str, Any]) -> Any:
    """Looks a setting up in a registry.

    Args:
      name: Dotted name of the setting.
      given: Value of the setting.
      known: Registry.

    Returns:
      The entry.

    Raises:
      ConfigError: if there is none; lists the choices.
    """
    if given not in known:
        raise ConfigError(f"config.{name}{unknown(given, known)}")
    return known[given]


def unknown(given: str, known: Iterable[str]) -> str:
    """Returns the end of the message for a name that is not in a registry."""
    choices = sorted(known)
    matches = difflib.get_close_matches(given, choices, n=1, cutoff=0.6)
    hint = f"; did you mean {matches[0]}?" if matches else ""
    return f" = {given!r} is unknown; choose {', '.join(choices)}{hint}"


def nearest(key: str, known: Iterable[str]) -> str:
    """Returns a hint at the known name most like `key`, as the end of a sentence."""
    matches = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else f"; known: {', '.join(sorted(known))}"
