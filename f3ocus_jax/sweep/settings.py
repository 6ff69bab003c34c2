"""Settings of a sweep: the product of configs, families, methods, settings and seeds."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.config import SEED, Section, nearest, parsing, section, setting
from f3ocus_jax.config.section import SettingError
from f3ocus_jax.federation.presets import METHODS
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import FAMILIES

SETTINGS = frozenset(parsing.flatten(ExperimentConfig()))
"""Dotted names of all settings of a run."""

NONE, GRID, RANDOM = "none", "grid", "random"
"""Searches of `TuningConfig`."""

LOG, LINEAR = "log", "linear"
"""Scales of a range."""

NOT_TUNED = ("seed", "data.", "evaluation.", "checkpoint.", "distributed.")
"""Beginnings of settings that no search may change: the validation examples stay the same."""


@dataclasses.dataclass(frozen=True)
class TuningConfig(Section):
    """Search for settings on validation examples, before the runs that are reported."""

    search: str = setting(
        NONE,
        '"grid" tries every combination of `values`, "random" draws from them; "none" tunes '
        "nothing.",
        choices=(NONE, GRID, RANDOM),
    )
    values: Mapping[str, Any] = setting(
        {},
        "Candidates of settings, by section: a tuple, or for a random search also a range, as in "
        '{"training": {"learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"}}}.',
    )
    trials: int = setting(
        8, "Candidates that a random search draws, the same ones for every method.", at_least=1
    )
    seed: int = setting(0, "Seed of these draws.", at_least=0, **SEED)
    seeds: tuple[int, ...] = setting(
        (1000,), "Seeds of the tuning runs, apart from those that are reported.", at_least=0, **SEED
    )

    def __post_init__(self) -> None:
        """Checks the candidates of every setting."""
        super().__post_init__()
        self.require(0 < len(self.seeds) == len(set(self.seeds)), "seeds", "one or more, each once")
        named = by_name(self.values)
        self.require(self.search == NONE or bool(named), "values", "one setting or more")
        for name, given in named.items():
            problem = _tuning_problem(name, given, ranges=self.search == RANDOM)
            if problem:
                raise SettingError(type(self).__name__, f"values.{name}", problem)


@dataclasses.dataclass(frozen=True)
class SweepConfig(Section):
    """Runs of a sweep: every combination of bases, families, methods, grid, rows and seeds."""

    bases: tuple[str, ...] = setting(
        ("phantom:tiny",),
        "Configs of the runs, each a file or the name of a shipped one with or without a variant, "
        "which names no method and no family.",
    )
    families: tuple[str, ...] = setting(
        (), f"Families of models, of {', '.join(FAMILIES)}; empty for that of the config."
    )
    methods: tuple[str, ...] = setting(
        ("f3ocus",), f"Methods of the paper's tables or after the paper, of {', '.join(METHODS)}."
    )
    seeds: tuple[int, ...] = setting((0,), "Seeds of the runs.", at_least=0, **SEED)
    settings: Mapping[str, Any] = setting(
        {}, 'Settings of all runs by section, as in {"federated": {"rounds": 5}}.'
    )
    grid: Mapping[str, Any] = setting(
        {},
        "Values of settings, every combination of which is run, as in "
        '{"training": {"learning_rate": (1e-3, 3e-4)}}.',
    )
    rows: tuple[Mapping[str, Any], ...] = setting(
        (), "Settings by section, one mapping per row; every row is run."
    )
    reference: str = setting(
        "f3ocus", "Method that the others are compared with in the report.", choices=METHODS
    )
    foundation: str = setting(
        "",
        "Config of `pretrain` that makes the weights from which all runs start, once; empty for "
        "the weights that each config names.",
    )
    tuning: TuningConfig = section(TuningConfig)

    def __post_init__(self) -> None:
        """Checks conditions on several settings."""
        super().__post_init__()
        for name, known in (("methods", METHODS), ("families", tuple(FAMILIES))):
            wrong = [each for each in getattr(self, name) if each not in known]
            self.require(not wrong, name, f"of {', '.join(known)}")
        for name in ("bases", "methods", "seeds"):
            given = getattr(self, name)
            allowed = "one or more, each once"
            self.require(0 < len(given) == len(set(given)), name, allowed)
        lists = by_name(self.grid).values()
        allowed = "a tuple of one value or more for every setting"
        self.require(
            all(values and isinstance(values, tuple | list) for values in lists), "grid", allowed
        )
        self._check_tuned_once()

    @property
    def tunes(self) -> bool:
        """True if settings are searched for."""
        return self.tuning.search != NONE

    def _check_tuned_once(self) -> None:
        """Refuses a setting that is tuned and given, too."""
        given = {"settings": by_name(self.settings), "grid": by_name(self.grid)}
        given |= {f"rows[{index}]": by_name(row) for index, row in enumerate(self.rows)}
        tuned = by_name(self.tuning.values) if self.tunes else {}
        for name in tuned:
            for place, settings in given.items():
                if name in settings:
                    problem = f" is tuned, and also given in config.{place}: keep one of them"
                    raise SettingError(type(self).__name__, f"tuning.values.{name}", problem)


def by_name(sections: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns settings that are given by section by their dotted names.

    >>> by_name({"federated": {"rounds": 5}, "seed": 1})
    {'federated.rounds': 5, 'seed': 1}
    """
    found: dict[str, Any] = {}
    for key, value in sections.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and name not in SETTINGS:
            found |= by_name(value, f"{name}.")
        else:
            found[name] = value
    return found


def _tuning_problem(name: str, given: Any, *, ranges: bool) -> str:
    """Returns the end of the message for a setting that cannot be tuned so; "" for one that can."""
    if name not in SETTINGS:
        return f" is unknown{nearest(name, SETTINGS)}"
    if name.startswith(NOT_TUNED):
        return " cannot be tuned: candidates are compared on equal validation examples"
    if isinstance(given, tuple | list) and given:
        return ""
    if ranges and isinstance(given, Mapping):
        return _range_problem(given)
    allowed = "a tuple of one value or more"
    return f" = {given!r}, must be {allowed}{', or a range' if ranges else ''}"


def _range_problem(given: Mapping[str, Any]) -> str:
    """Returns the end of the message for an impossible range of a random search."""
    low, high = (given.get(end, math.nan) for end in ("low", "high"))
    scale = given.get("scale", LINEAR)
    numbers = all(type(end) in (int, float) and math.isfinite(end) for end in (low, high))
    known = given.keys() <= {"low", "high", "scale"} and scale in (LOG, LINEAR)
    if numbers and known and low < high and (scale == LINEAR or low > 0):
        return ""
    return (
        f" = {dict(given)!r}, must be a range with low < high and perhaps a scale, "
        f'"{LINEAR}" or, for low > 0, "{LOG}"'
    )
