"""Sections of a run configuration, and components that bring options of their own."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from f3ocus_jax.config.setting import SETTING, settings_of
from f3ocus_jax.errors import ConfigError


class SettingError(ConfigError):
    """An impossible setting of a section that does not know its own name in the configuration.

    Attributes:
      name: Name of the setting within its section.
      problem: Rest of the message.
    """

    def __init__(self, section: str, name: str, problem: str) -> None:
        """Makes the error; `section` is the name of the section's class."""
        super().__init__(f"{section}.{name}{problem}")
        self.name, self.problem = name, problem


@dataclasses.dataclass(frozen=True)
class Section:
    """Base of all sections: frozen dataclasses whose fields are declared by `setting`.

    A setting whose choices are a registry of `Component` adds their options as subsections: with
    `rule: str = setting("mean", "...", choices=RULES)` the options of "trimmed_mean" are the
    subsection `trimmed_mean`, always there, whichever rule is chosen. A class may also declare such
    a subsection itself, for type checkers.
    """

    def __init_subclass__(cls) -> None:
        """Adds the options of components before `dataclass` collects the fields."""
        for field in [
            value for value in vars(cls).values() if isinstance(value, dataclasses.Field)
        ]:
            choices = field.metadata[SETTING].choices if SETTING in field.metadata else None
            for name, component in choices.items() if isinstance(choices, Mapping) else ():
                if isinstance(component, Component) and component.options is not None:
                    cls._add_options(name, component.options)

    @classmethod
    def _add_options(cls, name: str, options: "type[Section]") -> None:
        declared = cls.__annotations__.setdefault(name, options)
        if declared is not options:
            raise TypeError(f"{cls.__name__}.{name} must be the options of {name}")
        if name not in vars(cls):
            setattr(cls, name, section(options))

    def __post_init__(self) -> None:
        """Checks every declared range and choice."""
        for name, declared in settings_of(self):
            problem = declared.problem(getattr(self, name))
            if problem is not None:
                raise SettingError(type(self).__name__, name, problem)

    def require(self, condition: bool, name: str, allowed: str) -> None:
        """Raises SettingError unless a condition that involves several settings holds.

        Args:
          condition: True if the setting is possible.
          name: Name of the setting within this section, dotted for one of a subsection.
          allowed: Possible values, as the end of "..., must be ...".
        """
        if not condition:
            given = functools.reduce(getattr, name.split("."), self)
            raise SettingError(type(self).__name__, name, f" = {given!r}, must be {allowed}")

    def make(self, name: str, *arguments: Any) -> Any:
        """Makes the chosen component of a setting.

        Args:
          name: Name of a setting whose choices are components.
          *arguments: Positional arguments of the component's factory, before its options.

        Returns:
          What the factory returns.
        """
        chosen, registry = getattr(self, name), dict(settings_of(self))[name].choices
        if not isinstance(registry, Mapping):
            raise TypeError(f"{type(self).__name__}.{name} has no components")
        return registry[chosen].build(*arguments, options=getattr(self, chosen, None))


@dataclasses.dataclass(frozen=True)
class Component:
    """One entry of a registry from which a setting chooses.

    Attributes:
      options: Section of its own options; None if it has none.
      make: Factory; takes the options as its last positional argument, if there are any.
    """

    options: type[Section] | None
    make: Callable[..., Any]

    def build(self, *arguments: Any, options: Section | None = None) -> Any:
        """Calls the factory.

        Args:
          *arguments: Arguments of the factory before its options.
          options: Instance of `options`; their defaults if None.
        """
        if self.options is None:
            return self.make(*arguments)
        return self.make(*arguments, self.options() if options is None else options)


def section(kind: type[Section], **changed: Any) -> Any:
    """Declares a subsection.

    Args:
      kind: Class of the subsection.
      **changed: Defaults that differ from those of `kind`.

    Returns:
      A dataclass field.
    """
    return dataclasses.field(default_factory=functools.partial(kind, **changed))
