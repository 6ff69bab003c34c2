"""What the members of a federation must have in common, each part by its own SHA-256."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from f3ocus_jax.config import parsing
from f3ocus_jax.data.tokenizer import Tokenizer
from f3ocus_jax.federation import checkpoint
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import foundation as foundation_lib, units
from f3ocus_jax.models.foundation import Foundation
from f3ocus_jax.models.huggingface.extra_files import FILES as EXTRA_FILES
from f3ocus_jax.models.huggingface.seal import WEIGHT_FILES
from tfds_medvqa.common import integrity

SECTIONS = ("aggregation.", "checkpoint.", "federated.", "limits.", "profile.", "selection.")
"""Beginnings of settings that the server alone uses, or each member for itself."""

OF_MASKING = ("aggregation.clip_norm", "aggregation.weights", "limits.minimum_sharers")
"""Settings of these sections that sites use, too, with secure aggregation."""

OF_MACHINE = ("distributed.coordinator", "distributed.host", "distributed.hosts")
OF_FOLDERS = ("data.data_dir", "data.manual_dir", "model.weights")
OF_SOURCES = (
    "data.closed_answers",
    "data.image_page",
    "data.invalid_rows",
    "data.max_image_pixels",
    "data.max_unknown_share",
    "data.partition_seed",
    "data.question",
    "data.test_share",
    *checkpoint.OF_OWN_DATA,
)
"""Settings by which a site reads its own files."""

OF_A_MEMBER = {
    *(*OF_MACHINE, *OF_FOLDERS, *OF_SOURCES),
    *("evaluation.features", "report.page_every", "secure_aggregation.identity"),
}
"""Settings that each member has for itself; every other one must be the same."""

Facts = Mapping[str, str]
"""Name, as a message has it, to the SHA-256 of its value."""


def of_settings(config: ExperimentConfig) -> dict[str, str]:
    """Returns the settings that must be the same, each by its name."""
    settings = parsing.flatten(config)
    masking = OF_MASKING if config.secure_aggregation.enabled else ()
    return {
        f"config.{name}": _hash(value)
        for name, value in settings.items()
        if name in masking or not (name.startswith(SECTIONS) or name in OF_A_MEMBER)
    }


def of_start(config: ExperimentConfig, tokenizer: Tokenizer) -> dict[str, str]:
    """Returns what must be the same before any class is agreed on.

    Args:
      config: Settings.
      tokenizer: Tokenizer of the questions.
    """
    spec = foundation_lib.specify(config.model, tokenizer)
    sizes = dataclasses.asdict(spec.config)
    return of_settings(config) | {
        "architecture of the model": _hash([spec.family, sizes]),
        "files of the start weights": _hash(_checksums(config.model.weights)),
        "tokenizer": _hash(
            [tokenizer.pieces.to_str(), str(tokenizer.special_tokens), tokenizer.prompt]
        ),
    }


def of_run(config: ExperimentConfig, foundation: Foundation) -> dict[str, str]:
    """Returns what must be the same in the rounds.

    Args:
      config: Settings.
      foundation: The model, its classes, and the weights that the run starts from.
    """
    frozen, _, _ = units.split(foundation.params, config.training.unit)
    return of_settings(config) | {
        "answers": _hash(foundation.answers),
        "findings": _hash(foundation.findings),
        # All others come from the server. Drawn ones differ in their last bits between machines.
        "frozen weights": _hash(foundation_lib.fingerprint(frozen)),
    }


def differing(own: Facts, other: Facts) -> list[str]:
    """Returns the names whose values differ, or that one of the two lacks, sorted."""
    return sorted(name for name in own.keys() | other.keys() if own.get(name) != other.get(name))


def describe(names: Sequence[str], most: int = 5) -> str:
    """Returns what is wrong with a member of which these names differ."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    listed = ", ".join(names[:most])
    return f"not the same as the server's: {listed}{more}"


def _checksums(weights: str) -> dict[str, str]:
    """Returns the files of a folder of weights with their checksums; {} for weights to draw."""
    folder = pathlib.Path(weights)
    patterns = (WEIGHT_FILES, *EXTRA_FILES)
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    return {path.name: integrity.checksum(path, "sha256") for path in found if weights}


def _hash(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
