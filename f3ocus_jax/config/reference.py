"""Reference of all settings of a section, as Markdown or as text for --helpfull."""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

from f3ocus_jax.config.section import Section
from f3ocus_jax.config.setting import Setting, settings_of


class Row(NamedTuple):
    """One setting.

    Attributes:
      name: Name within its section.
      default: Default value.
      setting: Meaning and possible values.
    """

    name: str
    default: Any
    setting: Setting


def sections(config: Section, name: str = "config") -> Iterator[tuple[str, Section]]:
    """Yields a section and all of its subsections, each with its dotted name."""
    yield name, config
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if isinstance(value, Section):
            yield from sections(value, f"{name}.{field.name}")


def rows(section: Section) -> list[Row]:
    """Returns the settings of a section, without those of its subsections."""
    return [Row(name, getattr(section, name), declared) for name, declared in settings_of(section)]


def markdown(kind: type[Section], *, known: type[Section] | None = None) -> str:
    """Returns one table per section.

    Args:
      kind: Class of the configuration.
      known: Configuration that is described elsewhere; settings with the same default are left out.

    Returns:
      Markdown, with a heading of level 2 per section.
    """
    others = dict(sections(known())) if known else {}
    parts = []
    for name, section in sections(kind()):
        there = rows(others[name]) if name in others else []
        here = [row for row in rows(section) if row not in there]
        if not here:
            continue
        title = inspect.cleandoc(type(section).__doc__ or "").partition("\n")[0]
        head = ["| Setting | Default | Possible values | Meaning |", "|---|---|---|---|"]
        lines = [
            f"| `{row.name}` | {_code(row.default)} | {_possible(row.setting)} | "
            f"{row.setting.meaning.replace('|', chr(92) + '|')} |"
            for row in here
        ]
        parts.append("\n".join([f"## `{name}`", "", title, "", *head, *lines]))
    return "\n\n".join(parts)


def as_help(kind: type[Section]) -> str:
    """Returns one line per setting, as it is given on the command line."""
    return "\n".join(
        f"--{name}.{row.name}={row.default!r}: {row.setting.meaning}{_hint(row.setting)}"
        for name, section in sections(kind())
        for row in rows(section)
    )


def _hint(setting: Setting) -> str:
    if setting.choices is not None:
        return f" One of {', '.join(setting.choices)}."
    return f" Must be {setting.allowed()}." if setting.allowed() else ""


def _possible(setting: Setting) -> str:
    if setting.choices is not None:
        return ", ".join(_code(choice) for choice in setting.choices)
    return setting.allowed()


def _code(value: Any) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return f"`{text}`"
