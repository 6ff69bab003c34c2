"""Start of a run from its newest whole checkpoint, without loss of records."""

import os
import pathlib

from etils import epath

from f3ocus_jax import hosts
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import checkpoint, sealed_steps
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.types import ClientMemory, RoundRecord, ServerState

RECORDS = "records.jsonl"
AT_ONCE = 1
"""Rounds that records may be ahead of the next checkpoint: one is recorded while it is saved."""


def resume(
    parts: Parts, folder: epath.Path, workdir: pathlib.Path
) -> tuple[ServerState, ClientMemory, list[RoundRecord]]:
    """Restores the newest whole checkpoint, and sets damaged ones aside.

    Args:
      parts: Parts of the run.
      folder: Folder of the checkpoints; all hosts see it.
      workdir: Folder of the run.

    Returns:
      (state, memory, records of all rounds up to it); those before round 1 and no records if there
      is neither a checkpoint nor a record.

    Raises:
      ConfigError: If records would be lost, or the checkpoints are of another run.
      DamagedError: If no checkpoint is whole.
    """
    rounds, recorded = sealed_steps.steps(folder), _count_records(workdir / RECORDS)
    if not rounds:
        _refuse_to_lose(recorded, None, folder, workdir)
        return parts.start, parts.memory, []
    newest, damaged = sealed_steps.first_whole(folder, reversed(rounds))
    if not damaged:
        _refuse_to_lose(recorded, newest, folder, workdir)
    restored = checkpoint.restore(folder, newest, parts.start, parts.memory, parts.settings)
    sealed_steps.set_aside(folder, damaged)
    if damaged and hosts.is_first():
        _keep_copy(workdir / RECORDS, newest)
    print(f"resuming after round {newest}")
    return restored


def _count_records(path: pathlib.Path) -> int:
    """Returns the number of whole lines; a run killed in a line records that round again."""
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def _refuse_to_lose(
    recorded: int, newest: int | None, folder: epath.Path, workdir: pathlib.Path
) -> None:
    """Raises if there are records of rounds that no checkpoint accounts for."""
    accounted = 0 if newest is None else newest + _every(folder, newest) + AT_ONCE
    if recorded > accounted:
        newest_kept = "no checkpoint" if newest is None else f"none after round {newest}"
        raise ConfigError(
            f"{workdir / RECORDS} holds rounds up to {recorded - 1}, their checkpoints' folder "
            f"{folder} holds {newest_kept}: restore that folder, correct "
            "config.checkpoint.directory, or start in a new workdir"
        )


def _every(folder: epath.Path, newest: int) -> int:
    """Returns the rounds between two checkpoints when the newest one was written."""
    return int(checkpoint.read_settings(folder, newest).get("checkpoint.every", 1))


def _keep_copy(path: pathlib.Path, newest: int) -> None:
    """Keeps the records beside those that are continued after an earlier round."""
    if path.is_file():
        os.replace(path, path.with_name(f"records_before_round_{newest + 1}_again.jsonl"))
