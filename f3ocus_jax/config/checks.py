"""How is a setting refused? One line that says what was given and what is allowed."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from f3ocus_jax.errors import ConfigError


def require(condition: bool, name: str, given: object, allowed: str) -> None:
    """Raises ConfigError unless a setting is possible.

    Args:
      condition: whether it is.
      name: dotted name of the setting.
      given: its value.
      allowed: what would be possible, as the end of "..., must be ...".

    Raises:
      ConfigError: if `condition` is false.
    """
    if not condition:
        raise ConfigError(f"config.{name} = {given!r}, must be {allowed}")


def choose(name: str, given: str, known: Mapping[str, Any]) -> Any:
    """Looks a setting up in a registry.

    Args:
      name: dotted name of the setting.
      given: its value.
      known: the registry.

    Returns:
      The entry.

    Raises:
      ConfigError: if there is none; lists the choices.
    """
    if given not in known:
        raise ConfigError(
            f"config.{name} = {given!r} is unknown; choose {', '.join(sorted(known))}"
        )
    return known[given]


def nearest(key: str, known: Iterable[str]) -> str:
    """Returns a hint at the known name most like `key`, as the end of a sentence."""
    matches = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else f"; known: {', '.join(sorted(known))}"
