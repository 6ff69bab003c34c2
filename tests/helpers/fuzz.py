"""Bad values for every declared setting, and what becomes of a run that is given one."""

import itertools
import math
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import ml_collections

from f3ocus_jax._command_line import EXPECTED_ERRORS
from f3ocus_jax.config import Section, parsing
from f3ocus_jax.config.reference import rows, sections
from f3ocus_jax.federation import admission, checkpoint
from f3ocus_jax.federation.settings import ExperimentConfig, PretrainConfig
from f3ocus_jax.models import FAMILIES, foundation
from tests.helpers.configs import raw_config

KINDS: dict[str, type[Section]] = {"phantom": ExperimentConfig, "pretrain": PretrainConfig}
"""Shipped config to the class of its settings."""

NUMBERS: dict[str, Any] = {
    "negative": -1,
    "negative float": -1.0,
    "zero": 0,
    "zero float": 0.0,
    "1e9": 10**9,
    "2**31": 2**31,
    "2**32": 2**32,
    "2**63": 2**63,
    "2**64": 2**64,
    "1e9 float": 1e9,
    "1e300": 1e300,
    "1e-300": 1e-300,
    "NaN": math.nan,
    "inf": math.inf,
    "-inf": -math.inf,
}
OTHERS: dict[str, Any] = {
    "bool": True,
    "null": None,
    "word": "word",
    "fraction": 1.5,
    "empty text": "",
    "empty tuple": (),
    "empty section": {},
    "blank": "  ",
    "Arabic digit": "\u0663",
    "full-width digits": "\uff11\uff12",
    "unicode": "räden→💥",
    "surrogate": "\ud800",
    "null character": "a\0b",
    "lines": "a\nb",
}
VALUES = NUMBERS | OTHERS


class Case(NamedTuple):
    """One setting with one bad value.

    Attributes:
      config: Key of `KINDS`.
      setting: Dotted name of the setting.
      label: Name of the value.
      value: Value of the setting.
    """

    config: str
    setting: str
    label: str
    value: Any


def cases() -> list[Case]:
    """Returns the product of all settings and all bad values."""
    found = []
    for config, kind in KINDS.items():
        for name, default in _leaves(kind):
            found += [Case(config, name, label, value) for label, value in _values(default)]
    return found


def _leaves(kind: type[Section]) -> Iterator[tuple[str, Any]]:
    for name, part in sections(kind()):
        for row in rows(part):
            yield f"{name}.{row.name}".removeprefix("config."), row.default
    for name, value in FAMILIES["vilt"].tiny[""](32).items():
        yield f"model.architecture.{name}", value


def _values(default: Any) -> Iterator[tuple[str, Any]]:
    yield from VALUES.items()
    if isinstance(default, tuple):
        for label, value in itertools.chain(VALUES.items(), {"nested": ((1,),)}.items()):
            yield f"tuple of {label}", (value,)
    if isinstance(default, dict):
        for label, value in VALUES.items():
            yield f"section of {label}", {"eye": value}
            yield f"section of tuple of {label}", {"eye": (value,)}


def outcome(case: Case, data_dir: pathlib.Path, assemble: Callable[[Any], object]) -> str:
    """Parses the settings of a case and assembles the run.

    Args:
      case: The setting and its value.
      data_dir: Folder of built datasets.
      assemble: Function that does with the settings all that precedes training.

    Returns:
      "run", "error: …" for an error that a user can mend, or "defect: …" for any other.
    """
    try:
        raw = _raw(case, data_dir)
        assemble(parsing.parse(KINDS[case.config], raw))
    except EXPECTED_ERRORS as error:
        return f"error: {error}"
    except Exception as error:
        return f"defect: {type(error).__name__}: {error}"
    return "run"


def _raw(case: Case, data_dir: pathlib.Path) -> ml_collections.ConfigDict:
    raw = raw_config("tiny", task=case.config, data__data_dir=str(data_dir))
    with raw.unlocked(), raw.ignore_type():
        section: Any = raw
        *path, name = case.setting.split(".")
        for part in path:
            section = section[part]
        section[name] = case.value
    return raw


def prepare(config: Any) -> None:
    """Does what precedes the reading of data: the guard in place of a run."""
    if isinstance(config, ExperimentConfig):
        checkpoint.directory(config.checkpoint, "")
    tokenizer, canvas = foundation.inputs(config.model, config.data)
    admission.check_model(config, foundation.specify(config.model, tokenizer), canvas)
