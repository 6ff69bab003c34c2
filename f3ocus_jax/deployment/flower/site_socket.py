"""Process of a site and the ClientApps that ask it: a Unix domain socket in the site's folder.

Flower starts a process for every message. The model, the data and the compiled programs stay in a
process of their own, and the ClientApp only carries bytes to it and back.
"""

import contextlib
import logging
import os
import pathlib
import socket
import stat
from collections.abc import Callable, Iterator

from f3ocus_jax.deployment.flower import frames
from f3ocus_jax.errors import ConfigError, HostError, ProtocolError

SOCKET = "site.sock"
"""File of the socket in the folder of a site."""

LONGEST_PATH = 107
"""Bytes that Linux keeps of a socket's path."""

IDLE_SECONDS = 60.0
"""Longest time in which a connected process may send or take nothing, so that others get a turn."""

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def listening(folder: pathlib.Path) -> Iterator[socket.socket]:
    """A socket that only processes of the same user can connect to.

    Args:
      folder: Folder of the site, which no other process of the site uses.

    Raises:
      ConfigError: If the path is too long, or something else is there.
    """
    path = folder / SOCKET
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise ConfigError(f"--workdir: {path} is longer than {LONGEST_PATH} bytes")
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise ConfigError(f"--workdir: {path} is there and is no socket")
    path.unlink(missing_ok=True)  # an earlier process has left it
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        mask = os.umask(0o177)
        try:
            server.bind(os.fspath(path))
        finally:
            os.umask(mask)
        server.listen()
        try:
            yield server
        finally:
            path.unlink(missing_ok=True)


def serve(server: socket.socket, answer: Callable[[bytes], bytes]) -> None:
    """Answers one process after the other, without end.

    Args:
      server: Socket from `listening`.
      answer: Bytes of a task to bytes of its answer; whatever it raises ends this function.
    """
    while True:
        connection, _ = server.accept()
        with connection:
            serve_one(connection, answer)


def serve_one(
    connection: socket.socket, answer: Callable[[bytes], bytes], *, idle: float = IDLE_SECONDS
) -> None:
    """Answers one task; a process that breaks off or sends no frame is logged.

    Args:
      connection: Socket of the process.
      answer: Answering function, as of `serve`.
      idle: Longest time in which the process may send or take nothing, in seconds.
    """
    connection.settimeout(idle)
    try:
        task = frames.receive(connection)
    except (OSError, ProtocolError) as problem:
        logger.warning("a process sent no task: %s", problem)
        return
    given = answer(task)
    try:
        frames.send(connection, given)
    except OSError as problem:
        logger.warning("a process did not take its answer: %s", problem)


def ask(folder: pathlib.Path, task: bytes) -> bytes:
    """Lets the process of a site answer a task.

    Args:
      folder: Folder of the site.
      task: Bytes of the task.

    Returns:
      Bytes of the answer.

    Raises:
      HostError: If no process of the site is there, or if it ends.
    """
    path = folder / SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(os.fspath(path))
        except OSError as error:
            raise HostError(
                f"no process of the site listens at {path} ({error.strerror or error}); start it: "
                f"python -m f3ocus_jax.deployment flower site --config CONFIG --workdir {folder}"
            ) from error
        try:
            frames.send(connection, task)
            return frames.receive(connection)
        except (OSError, ProtocolError) as error:
            raise HostError(
                f"the process of the site at {path} ended before it answered, see its messages"
            ) from error
