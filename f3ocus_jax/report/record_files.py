"""Reading and writing of records.jsonl, safe against a killed process."""

import itertools
import json
import logging
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from f3ocus_jax.types import RoundRecord

logger = logging.getLogger(__name__)


def read_records(path: str | os.PathLike[str]) -> list[RoundRecord]:
    """Reads all records of a run.

    A last line that a killed process left incomplete is dropped, and a note is logged.

    Args:
      path: The records file, one JSON object per line.

    Returns:
      The records, rounds ascending; empty if there is no such file.

    Raises:
      ValueError: if a line other than the last is no record, or rounds do not ascend.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(RoundRecord.from_json(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            if number < len(lines):
                raise ValueError(
                    f"{path}, line {number}: no round record ({error}); "
                    "restore the file or start in another workdir"
                ) from error
            logger.warning("%s, line %d: dropped, the process was stopped in it", path, number)
    _check_ascending(records, path)
    return records


def append_record(path: str | os.PathLike[str], record: RoundRecord) -> None:
    """Appends one record and waits until it is on the disk.

    Args:
      path: The records file; created with its folder if absent.
      record: Record of a round later than those in the file.

    Raises:
      ValueError: if a number in the record is NaN or infinite; names round and field.
      TypeError: if a value has no place in JSON; names round and field.
    """
    path = pathlib.Path(path)
    line = _to_line(record)
    if not _ends_in_a_whole_line(path):
        rewrite_records(path, read_records(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def rewrite_records(path: str | os.PathLike[str], records: Sequence[RoundRecord]) -> None:
    """Replaces the whole file in one step: a reader finds the old records or the new, never a mix.

    A resumed run calls this with the records up to its checkpoint, which drops later rounds.

    Args:
      path: The records file; created with its folder if absent.
      records: New content, rounds ascending.

    Raises:
      ValueError: if a number is NaN or infinite (names round and field), or rounds do not ascend.
      TypeError: if a value has no place in JSON; names round and field.
    """
    path = pathlib.Path(path)
    _check_ascending(records, path)
    text = b"".join(_to_line(record) for record in records)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync_folder(path.parent)


def _to_line(record: RoundRecord) -> bytes:
    """Returns the record as one line of strict JSON."""
    value = record.to_json()
    _check_values(value, f"round {record.round}: ", "")
    line = json.dumps(value, allow_nan=False, ensure_ascii=False)
    return line.encode(errors="backslashreplace") + b"\n"  # lone surrogates, as JSON escapes them


def _check_values(value: Any, prefix: str, field: str) -> None:
    """Raises at the first value that strict JSON cannot hold, and names its field."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{prefix}{field} is {value}; records hold finite numbers only: "
                "find the stage that made it, a learning rate too high is the usual cause"
            )
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            _check_values(entry, prefix, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list | tuple):
        for index, entry in enumerate(value):
            _check_values(entry, prefix, f"{field}[{index}]")
    elif value is not None and not isinstance(value, str | int):
        raise TypeError(
            f"{prefix}{field} is a {type(value).__name__}; records hold Python numbers, text and "
            "lists: convert it with float(), int() or .tolist()"
        )


def _check_ascending(records: Sequence[RoundRecord], path: pathlib.Path) -> None:
    """Raises if a round is repeated or out of order."""
    rounds = [record.round for record in records]
    for earlier, later in itertools.pairwise(rounds):
        if later <= earlier:
            raise ValueError(
                f"{path}: round {later} follows round {earlier}; rounds must ascend: "
                "two runs may have written to one workdir"
            )


def _ends_in_a_whole_line(path: pathlib.Path) -> bool:
    """Returns True if an appended line would start on a line of its own."""
    if not path.exists() or path.stat().st_size == 0:
        return True
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _sync_folder(folder: pathlib.Path) -> None:
    """Waits until the folder's new entry is on the disk, without which a rename can be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
