"""Settings of one run of a sweep: those of its base and method with changes, and their hash."""

import functools
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_collections

from f3ocus_jax.config import nearest, parsing, shipped
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.sweep.planned import Cell
from f3ocus_jax.sweep.settings import SETTINGS, SweepConfig

LOCAL = ("data.data_dir", "data.manual_dir", "checkpoint.directory")
"""Settings that say where files are on a machine, and nothing of a run's results."""

BESIDE_RESULTS = (
    "checkpoint.every",
    "checkpoint.keep_best",
    "checkpoint.keep_last",
    "evaluation.features",
    "report.page_every",
)
"""Settings of what a run keeps beside its results."""

FOUNDATION = "foundation"
"""Folder of the weights that a sweep makes, below its own."""


def read_config(
    sweep: SweepConfig, cell: Cell, changes: Mapping[str, Any], seed: int, workdir: pathlib.Path
) -> ExperimentConfig:
    """Reads the settings of one run.

    Args:
      sweep: Settings of the sweep.
      cell: Base, family and method of the run.
      changes: Further settings by dotted name.
      seed: Seed of the run.
      workdir: Folder of the sweep.

    Raises:
      ConfigError: If a config, a setting or a value is impossible.
    """
    name, _, variant = cell.base.partition(":")
    method = "" if cell.method == "f3ocus" else cell.method
    joined = "_".join(filter(None, (variant, cell.family, method)))
    raw = shipped.read(f"{name}:{joined}" if joined else name)
    with raw.unlocked():
        for setting, value in changes.items():
            _change(raw, setting, value)
        raw.seed = seed
        if sweep.foundation:
            raw.model.weights = str(workdir / FOUNDATION)
            raw.model.architecture = ml_collections.ConfigDict()
    return parsing.parse(ExperimentConfig, raw)


def _change(raw: ml_collections.ConfigDict, name: str, value: Any) -> None:
    """Sets one setting by its dotted name."""
    *sections, last = name.split(".")
    section: Any = raw
    for each in sections:
        section = section.get(each) if hasattr(section, "get") else None
    if not hasattr(section, "keys") or last not in section:
        raise ConfigError(f"config.{name} is unknown{nearest(name, SETTINGS)}")
    try:
        section[last] = tuple(value) if isinstance(value, list) else value
    except TypeError as error:
        kind = type(section[last]).__name__
        raise ConfigError(f"config.{name} = {value!r}, must be of type {kind}") from error


@functools.cache
def _earlier_settings() -> Mapping[str, Any]:
    """Returns the settings of a run from before each of them existed."""
    return parsing.flatten_earlier(ExperimentConfig())


def hash_settings(config: ExperimentConfig, foundation: str = "") -> str:
    """Returns a hash of all settings that can change the results of a run.

    It leaves out those with the value that runs had before the setting existed, so that a version
    with more settings does no finished run again.

    Args:
      config: Settings of the run.
      foundation: Config of the weights that the sweep itself makes, whose folder says nothing.
    """
    earlier = _earlier_settings()
    settings = {
        name: value
        for name, value in parsing.flatten(config).items()
        if name not in LOCAL + BESIDE_RESULTS and not name.startswith("distributed.")
        if name not in earlier or value != earlier[name]
    }
    if foundation:
        settings["model.weights"] = foundation
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
