"""Settings of a sweep: the product of configs, families, methods, settings and seeds."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.config import SEED, Section, parsing, setting
from f3ocus_jax.federation.presets import METHODS
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import FAMILIES

SETTINGS = frozenset(parsing.flatten(ExperimentConfig()))
"""Dotted names of all settings of a run."""


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
        ("f3ocus",), f"Methods of the paper's tables, of {', '.join(METHODS)}."
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
