"""Plan of a sweep: its runs, each with settings, the cell of the report it belongs to, a folder."""

import dataclasses
import hashlib
import itertools
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections

from f3ocus_jax.config import parsing, shipped
from f3ocus_jax.config.checks import nearest
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.sweep.settings import SETTINGS, SweepConfig, by_name

LOCAL = ("data.data_dir", "data.manual_dir", "checkpoint.directory")
"""Settings that say where files are on a machine, and nothing of a run's results."""

RUNS, FOUNDATION = "runs", "foundation"
"""Folders below that of a sweep."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Part of a run's settings that a report compares.

    Attributes:
      base: Config of the run.
      family: Family of the model; "" for that of the config.
      method: Method of the paper's tables.
      setting: Further settings in words, as in "training.learning_rate=0.001"; "" for none.
    """

    base: str
    family: str
    method: str
    setting: str

    def __str__(self) -> str:
        """Returns the cell in one line."""
        return " ".join(filter(None, (self.base, self.family, self.method, self.setting)))


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
      key: Hash of its settings, the name of its folder.
      cell: Cell of the report.
      seed: Seed of the run.
      config: All of its settings.
    """

    key: str
    cell: Cell
    seed: int
    config: ExperimentConfig

    def folder(self, workdir: pathlib.Path) -> pathlib.Path:
        """Returns the folder of the run in that of its sweep."""
        return workdir / RUNS / self.key

    def __str__(self) -> str:
        """Returns the run in one line."""
        return f"{self.cell} seed {self.seed}"


def make_plan(sweep: SweepConfig, workdir: pathlib.Path) -> list[PlannedRun]:
    """Lists the runs of a sweep, every one once, seeds outermost.

    Args:
      sweep: Settings of the sweep.
      workdir: Folder of the sweep.

    Returns:
      The runs: of the first seed those of all cells, then of the next.

    Raises:
      ConfigError: if a config, a setting or a value is impossible; names the run.
    """
    runs: dict[str, PlannedRun] = {}
    for seed, cell, changes in _combinations(sweep):
        config = _read(sweep, cell, changes, seed, workdir)
        key = hash_settings(config, sweep.foundation)
        run = PlannedRun(key, cell, seed, config)
        runs.setdefault(run.key, run)
    return list(runs.values())


def _combinations(sweep: SweepConfig) -> Iterator[tuple[int, Cell, dict[str, Any]]]:
    """Yields (seed, cell, changed settings)."""
    values = by_name(sweep.grid)
    grid = [dict(zip(values, each, strict=True)) for each in itertools.product(*values.values())]
    rows = [by_name(row) for row in sweep.rows] or [{}]
    cells = itertools.product(sweep.bases, sweep.families or ("",), sweep.methods, grid, rows)
    shared = by_name(sweep.settings)
    for seed, (base, family, method, chosen, row) in itertools.product(sweep.seeds, list(cells)):
        own = {**chosen, **row}
        text = " ".join(f"{name}={_shown(value)}" for name, value in own.items())
        yield seed, Cell(base, family, method, text), {**shared, **own}


def _read(
    sweep: SweepConfig, cell: Cell, changes: Mapping[str, Any], seed: int, workdir: pathlib.Path
) -> ExperimentConfig:
    name, _, variant = cell.base.partition(":")
    method = "" if cell.method == "f3ocus" else cell.method
    joined = "_".join(filter(None, (variant, cell.family, method)))
    try:
        raw = shipped.read(f"{name}:{joined}" if joined else name)
        with raw.unlocked():
            for setting, value in changes.items():
                _change(raw, setting, value)
            raw.seed = seed
            if sweep.foundation:
                raw.model.weights = str(workdir / FOUNDATION)
                raw.model.architecture = ml_collections.ConfigDict()
        return parsing.parse(ExperimentConfig, raw)
    except ConfigError as error:
        raise ConfigError(f"run {cell} seed {seed}: {error}") from error


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


def _shown(value: Any) -> str:
    return json.dumps(value) if not isinstance(value, str) else value


def hash_settings(config: ExperimentConfig, foundation: str = "") -> str:
    """Returns a hash of all settings that can change the results of a run.

    Args:
      config: Settings of the run.
      foundation: Config of the weights that the sweep itself makes, whose folder says nothing.
    """
    settings = {
        name: value
        for name, value in parsing.flatten(config).items()
        if name not in LOCAL and not name.startswith("distributed.")
    }
    if foundation:
        settings["model.weights"] = foundation
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
