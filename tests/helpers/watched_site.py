"""A site in a process of its own, which answers tasks that come by a pipe and notes what it opens.

usage: python -m tests.helpers.watched_site SETTINGS FOLDER
"""

import json
import os
import pathlib
import struct
import sys
from typing import Any, BinaryIO

LENGTH = struct.Struct("<Q")
OPENED = "opened.json"
"""File in the folder of the site with the paths that its process has opened or listed."""


def write_frame(stream: BinaryIO, data: bytes) -> None:
    """Sends bytes with their length."""
    stream.write(LENGTH.pack(len(data)) + data)
    stream.flush()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next bytes; None at the end."""
    head = stream.read(LENGTH.size)
    return stream.read(LENGTH.unpack(head)[0]) if head else None


def main(settings: str, folder: str) -> None:
    """Answers until the pipe is closed."""
    paths: set[str] = set()

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event in ("open", "os.listdir", "os.scandir") and isinstance(arguments[0], str):
            paths.add(os.path.abspath(arguments[0]))

    sys.addaudithook(note)
    tasks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what is printed must not be taken for an answer

    from f3ocus_jax.config import parsing
    from f3ocus_jax.deployment import site_run
    from f3ocus_jax.deployment.settings import DeployedConfig

    raw = json.loads(pathlib.Path(settings).read_text(encoding="utf-8"))
    with site_run.open_site(parsing.parse(DeployedConfig, raw), pathlib.Path(folder)) as site:
        while (task := read_frame(tasks)) is not None:
            write_frame(answers, site.answer(task))
    found = sorted(paths)
    (pathlib.Path(folder) / OPENED).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
