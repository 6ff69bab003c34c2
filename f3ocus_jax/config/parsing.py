"""Conversion between config files, sections, and flat settings.

A config file returns an `ml_collections.ConfigDict`; `parse` turns it, once, into frozen
dataclasses. Nothing further down reads the raw dict.
"""

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

import ml_collections

from f3ocus_jax.config.checks import nearest, require
from f3ocus_jax.config.section import Section, SettingError
from f3ocus_jax.config.setting import DEFAULT, LARGEST, settings_of
from f3ocus_jax.errors import ConfigError

AnySection = TypeVar("AnySection", bound=Section)


def defaults(kind: type[Section]) -> ml_collections.ConfigDict:
    """Returns the defaults of a section, for a config file to change."""
    return ml_collections.ConfigDict(dataclasses.asdict(kind()))


def parse(kind: type[AnySection], raw: Mapping[str, Any], prefix: str = "") -> AnySection:
    """Makes a validated section.

    Args:
      kind: Class of the section, as in ExperimentConfig.
      raw: Mapping with exactly its fields.
      prefix: Dotted name of `raw` itself, for messages.

    Returns:
      An instance of `kind`.

    Raises:
      ConfigError: for an unknown key (the nearest known one is named), a missing key, a value of
        another type, or a value out of range.
    """
    hints = typing.get_type_hints(kind)
    for key in raw:
        if key not in hints:
            raise ConfigError(f"config.{prefix}{key} is unknown{nearest(key, hints)}")
    for key in hints:
        if key not in raw:
            raise ConfigError(f"config.{prefix}{key} is missing")
    values = {key: _convert(hints[key], raw[key], prefix + key) for key in hints}
    for key, declared in settings_of(kind):
        values[key] = declared.normalised(values[key])
    try:
        return kind(**values)
    except SettingError as error:
        raise ConfigError(f"config.{prefix}{error.name}{error.problem}") from None


def complete(default: Section, raw: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the settings that a file of an older version lacks.

    They have the value that keeps what was done before: `Setting.earlier`, or the default.

    Args:
      default: Section with its defaults.
      raw: Mapping of some of its fields.
    """
    filled, earlier = dict(raw), _earlier_values(default)
    for name in (field.name for field in dataclasses.fields(default)):
        value = getattr(default, name)
        if isinstance(value, Section):
            filled[name] = complete(value, raw.get(name, {}))
        else:
            filled.setdefault(name, earlier.get(name, value))
    return filled


def flatten_earlier(config: Section, prefix: str = "") -> dict[str, Any]:
    """Returns what `flatten` does, of a run that was written before each of its settings existed.

    Args:
      config: Section with its defaults.
      prefix: Dotted name of the section, with a dot at its end.
    """
    settings = flatten(config, prefix)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Section):
            settings |= flatten_earlier(value, f"{prefix}{field.name}.")
    earlier = _earlier_values(config)
    return settings | {prefix + name: _as_json(value) for name, value in earlier.items()}


def _earlier_values(config: Section) -> dict[str, Any]:
    """Returns the settings of a section whose default is not what was done before them."""
    declared = settings_of(config)
    return {name: one.earlier for name, one in declared if one.earlier is not DEFAULT}


def _convert(hint: Any, value: Any, name: str) -> Any:
    if hasattr(value, "to_dict") and not dataclasses.is_dataclass(hint):
        value = value.to_dict()  # Plain from here on, since a run's settings are kept as JSON.
    if dataclasses.is_dataclass(hint):
        require(isinstance(value, Mapping) or hasattr(value, "keys"), name, value, "a section")
        return parse(typing.cast(type[Section], hint), value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin is tuple:
        member = typing.get_args(hint)[0]
        values = value if isinstance(value, tuple | list) else (value,)
        return tuple(_convert(member, item, name) for item in values)
    if origin is not None:
        require(hasattr(value, "keys"), name, value, "a section")
        member = typing.get_args(hint)[1]
        for key in value:
            require(isinstance(key, str), name, value, "a section whose names are text")
        return {key: _convert(member, item, f"{name}.{key}") for key, item in value.items()}
    if hint is Any:
        return value
    if hint is float and type(value) is int:
        require(abs(value) <= LARGEST, name, value, "a finite number of float32")
        return float(value)
    require(type(value) is hint, name, value, f"of type {hint.__name__}")
    return value


def flatten(config: Section, prefix: str = "") -> dict[str, Any]:
    """Returns every setting by its dotted name, as JSON keeps it (tuples become lists)."""
    settings: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value, name = getattr(config, field.name), prefix + field.name
        if isinstance(value, Section):
            settings |= flatten(value, f"{name}.")
        elif isinstance(value, Mapping):
            settings[name] = {key: _as_json(item) for key, item in value.items()}
        else:
            settings[name] = _as_json(value)
    return settings


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
