"""Shipped tiny configs with some settings replaced, and records to compare between runs."""

import importlib
import os
from typing import Any

import ml_collections

from f3ocus_jax.config import parsing
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.types import RoundRecord


def raw_config(
    variant: str, *, task: str = "phantom", **settings: Any
) -> ml_collections.ConfigDict:
    """A shipped config with settings replaced by dotted name, each dot written as `__`."""
    config = importlib.import_module(f"configs.{task}").get_config(variant)
    with config.unlocked(), config.ignore_type():
        for name, value in settings.items():
            config.update_from_flattened_dict({name.replace("__", "."): value})
    return config


def read_config(
    variant: str,
    data_dir: str | os.PathLike = "",
    *,
    task: str = "phantom",
    **settings: Any,
) -> ExperimentConfig:
    """The same, parsed; `data_dir` replaces the config's own where it is given."""
    if data_dir:
        settings["data__data_dir"] = str(data_dir)
    return parsing.parse(ExperimentConfig, raw_config(variant, task=task, **settings))


def without_times(records: list[RoundRecord]) -> list[dict]:
    """Records as JSON without what no two runs share."""
    return [{**record.to_json(), "seconds": None} for record in records]
