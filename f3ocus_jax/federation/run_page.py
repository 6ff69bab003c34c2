"""Page of a run, report.html, from the files in its folder."""

import hashlib
import json
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from f3ocus_jax.config import parsing
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.federation import resuming, run_folder
from f3ocus_jax.federation.run_folder import RunFile
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.report import record_files
from f3ocus_jax.report.page import rendering
from f3ocus_jax.report.page.source import RunSource
from f3ocus_jax.types import RoundRecord
from tfds_medvqa.common import whole_file
from tfds_medvqa.common.printable import printable

logger = logging.getLogger(__name__)

PAGE = "report.html"

HASHED = ("run.json", "partition.json", "records.jsonl")
"""Files of a run whose hashes the page shows."""


def write(workdir: pathlib.Path, records: Sequence[RoundRecord] | None = None) -> pathlib.Path:
    """Writes the page of a run in one step.

    Args:
      workdir: Folder of the run.
      records: Its records; read from the folder if None.

    Returns:
      Path of the page.

    Raises:
      ConfigError: If the settings in run.json are impossible.
      DamagedError: If run.json or the records are damaged.
      FileNotFoundError: If the folder holds no run, or a run without any record yet.
    """
    if not run_folder.run_files(workdir):
        raise FileNotFoundError(f"{workdir} holds no run (no {run_folder.RUN_FILE})")
    found = _read_records(workdir) if records is None else records
    if not found:
        raise FileNotFoundError(f"{workdir} holds no record of any round yet")
    path = workdir / PAGE
    whole_file.write(path, rendering.render(_source(workdir, found)))
    return path


def write_or_warn(workdir: pathlib.Path, records: Sequence[RoundRecord]) -> pathlib.Path | None:
    """Writes the page of a run that goes on; a page that fails is one warning.

    Args:
      workdir: Folder of the run.
      records: Its records so far.

    Returns:
      Path of the page; None if it could not be written.
    """
    try:
        return write(workdir, records)
    except Exception as error:  # Whatever fails here must not cost the run its rounds.
        cause = printable(f"{type(error).__name__}: {error}", longest=200)
        logger.warning("%s was not written: %s", workdir / PAGE, cause)
        return None


def _read_records(workdir: pathlib.Path) -> list[RoundRecord]:
    try:
        return record_files.read_records(workdir / resuming.RECORDS)
    except ValueError as error:
        raise DamagedError(str(error)) from error


def _source(workdir: pathlib.Path, records: Sequence[RoundRecord]) -> RunSource:
    run = run_folder.read_run(workdir)
    importance = run.config.importance
    return RunSource(
        name=workdir.resolve().name,
        records=records,
        summary=_read_json(workdir / "table.json"),
        rounds=run.config.federated.rounds,
        federated=_federated(run.config),
        changed=_changed(run.config),
        provenance=_provenance(run, workdir),
        tolerance=importance.lntk.tolerance if importance.score == "lntk" else None,
    )


def _federated(config: ExperimentConfig) -> list[tuple[str, str]]:
    """Names data, model and method in a few words."""
    budgets = dict.fromkeys(config.federated.budgets)
    given = " or ".join(map(str, budgets)) or "all"
    return [
        ("data", ", ".join(config.data.datasets)),
        ("model", f"{config.model.family}, trained by {config.training.unit}"),
        ("score", config.importance.score),
        ("selection", config.selection.algorithm),
        ("budget of a client", f"{given} {config.federated.budget_unit}"),
        ("aggregation", config.aggregation.rule),
    ]


def _changed(config: ExperimentConfig) -> list[tuple[str, str, str]]:
    """Returns (name, value, default) of the settings that differ from the defaults."""
    values, defaults = parsing.flatten(config), parsing.flatten(ExperimentConfig())
    return [
        (name, _text(value), _text(defaults[name]))
        for name, value in values.items()
        if value != defaults[name]
    ]


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)


def _provenance(run: RunFile, workdir: pathlib.Path) -> list[tuple[str, str]]:
    recorded = [(name, text) for name, text in run.environment.items() if text]
    partition = _read_json(workdir / "partition.json")
    hashes = [
        (f"SHA-256 of {name}", hashlib.sha256(path.read_bytes()).hexdigest())
        for name in HASHED
        if (path := workdir / name).is_file()
    ]
    return [
        ("seed", str(run.config.seed)),
        ("start weights", run.config.model.weights or "random"),
        ("hash of the partition", str(partition.get("partition_hash", "not recorded"))),
        *(recorded or [("versions and hardware", "not recorded by the version that made the run")]),
        *hashes,
    ]


def _read_json(path: pathlib.Path) -> Mapping[str, Any]:
    """Returns the object in a file; an empty one if there is none, as before the end of a run."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
