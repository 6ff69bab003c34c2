"""Log of what leaves a site: one line of JSON for each message, on disk before the message goes."""

import dataclasses
import datetime
import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from f3ocus_jax.deployment.messages import Message, Update
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.privacy.account import Spent

FILE = "outbound.jsonl"
"""Name of the log in the folder of a site."""

LONGEST_FIELD = 500
"""Characters of a field that the log has as they are."""

Now = Callable[[], datetime.datetime]
"""Returns the time, with its zone."""


@dataclasses.dataclass(frozen=True)
class Departure:
    """One message that has left a site.

    Attributes:
      time: Time in UTC, as ISO 8601.
      round: Round that it belongs to.
      kind: Kind of the message.
      bytes: Size of the message.
      sha256: Hash of its bytes, with which two logs can be compared.
      fields: Fields of its header, but for long ones, which are replaced by their length.
      arrays: Shape of every array, by its name.
      layers: Indices of the layers whose parameters it holds.
      head: Entries of the head that it holds.
      again: True if the same bytes have left before.
      privacy: Epsilon and delta of all that the site has released of its examples, this message
        included; None without differential privacy of examples.
    """

    time: str
    round: int
    kind: str
    bytes: int
    sha256: str
    fields: dict[str, Any]
    arrays: dict[str, list[int]]
    layers: list[int]
    head: list[str]
    again: bool
    privacy: dict[str, float] | None


class OutboundLog:
    """The log of one site, to which lines are only added."""

    def __init__(self, folder: pathlib.Path, now: Now | None = None) -> None:
        """Opens the log.

        Args:
          folder: Folder of the site, made if absent.
          now: Clock; that of the machine unless given.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._path, self._now = folder / FILE, now or _utc
        _cut(self._path)

    def note(
        self, message: Message, data: bytes, spent: Spent | None = None, *, again: bool = False
    ) -> None:
        """Adds a line, and returns when it is on disk.

        Args:
          message: The message.
          data: Its bytes.
          spent: Privacy that the site has spent, this message included; None without an account.
          again: True if the same bytes have left before.

        Raises:
          OSError: If it cannot be written; the message must not leave then.
        """
        told = {
            "time": self._now().isoformat(timespec="seconds"),
            **_describe(message, data),
            "again": again,
            "privacy": None if spent is None else dataclasses.asdict(spent),
        }
        line = json.dumps(dataclasses.asdict(Departure(**told)))
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())


def read(folder: pathlib.Path) -> list[Departure]:
    """Reads the log of a site; a last line that was cut off is of a message that did not leave.

    Args:
      folder: Folder of the site.

    Raises:
      DamagedError: If another line is damaged.
    """
    path = folder / FILE
    lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else [""]
    whole, departures = lines[:-1], []
    for number, line in enumerate(whole, start=1):
        try:
            departures.append(Departure(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DamagedError(f"{path}, line {number} is damaged: {error}") from error
    return departures


def _describe(message: Message, data: bytes) -> dict[str, Any]:
    """Returns what a line says of the message itself."""
    sent = message.parameters if isinstance(message, Update) else None
    return {
        "round": message.round,
        "kind": message.kind,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "fields": {name: _short(value) for name, value in message.fields().items()},
        "arrays": {name: list(np.shape(array)) for name, array in message.tensors().items()},
        "layers": [] if sent is None else sent.layers_R.tolist(),
        "head": [] if sent is None else sorted(sent.head),
    }


def _short(value: Any) -> Any:
    """Returns a field as it is, or in words if it is long."""
    size = len(json.dumps(value))
    return value if size <= LONGEST_FIELD else f"{size} characters"


def _cut(path: pathlib.Path) -> None:
    """Removes a last line that was cut off: its message has not left."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
