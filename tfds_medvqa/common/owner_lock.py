"""Locks of folders that several processes or machines share, which a killed owner does not keep."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator

BEAT_SECONDS = 30.0
"""Time between two signs of life, which are the modification times of the lock."""

STALE_SECONDS = 300.0
"""Age of the last sign of life from which on an owner on another machine counts as gone."""

POLL_SECONDS = 0.2
"""Time between two looks at a lock that is waited for."""

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Owner:
    """A process that holds a lock.

    Attributes:
      host: Name of its machine, for people.
      machine: Identity of the running system and of its process numbers.
      pid: Process number.
      process_start: Start of the process in ticks of that system, since numbers are used again.
      since: Time at which the lock was taken, UTC.
      token: Identity of this one lock.
    """

    host: str
    machine: str
    pid: int
    process_start: str
    since: str
    token: str

    def __str__(self) -> str:
        """Describes the owner in a message."""
        return f"process {self.pid} on {self.host} (since {self.since} UTC)"


class HeldError(Exception):
    """A lock that a living process holds."""

    def __init__(self, owner: Owner | None) -> None:
        """Makes the exception of an owner; None for one that is just writing its lock."""
        self.owner = owner
        super().__init__("a process that is just starting" if owner is None else str(owner))


def this_process() -> Owner:
    """Returns the owner that this process is, with a new token."""
    since = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
    pid, host = os.getpid(), socket.gethostname()
    return Owner(host, _machine(), pid, _process_start(pid), since, uuid.uuid4().hex)


@contextlib.contextmanager
def held(path: pathlib.Path, say: Say = print) -> Iterator[Callable[[], Owner | None]]:
    """Holds a lock, which is a file, during a block.

    The file is created exclusively, which shared file systems guarantee where they do not guarantee
    `flock`. An owner that has ended without removing it is noticed: on this machine by its process
    number and start, elsewhere by the file's modification time, which a living owner renews.

    Args:
      path: Path of the lock; its folder must exist.
      say: Function that gets a line about a lock that its owner left behind.

    Yields:
      A function that returns the process that has taken the lock over, None while none has.

    Raises:
      HeldError: If a living process holds it.
      OSError: If the file cannot be written.
    """
    own = _acquire(path, say)
    ended = threading.Event()
    threading.Thread(target=_beat, args=(path, own, ended), daemon=True).start()
    try:
        yield lambda: None if (found := _read(path)) == own else found
    finally:
        ended.set()
        if _read(path) == own:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def waited_for(path: pathlib.Path, what: str, say: Say = print) -> Iterator[None]:
    """Holds a lock during a block, once no other process does.

    Args:
      path: Path of the lock; its folder must exist.
      what: Work of the owner, for the line that says who is waited for.
      say: Function that gets this line.
    """
    with contextlib.ExitStack() as stack:
        said = False
        while True:
            try:
                stack.enter_context(held(path, say))
                break
            except HeldError as error:
                if not said:
                    say(f"waiting for {error}: {what}")
                said = True
                time.sleep(POLL_SECONDS)
        yield


def owner_of(path: pathlib.Path) -> Owner | None:
    """Returns the living process that holds a lock; None if none does."""
    try:
        _ended_owner(path)
    except HeldError as error:
        return error.owner
    return None


def _acquire(path: pathlib.Path, say: Say) -> Owner:
    own = this_process()
    if _create(path, own):
        return own
    with _takeover(path):
        ended = _ended_owner(path)
        if ended is not None:
            say(f"{path} was left behind by {ended}, which has ended; it is taken over")
            path.unlink(missing_ok=True)
        if _create(path, own):
            return own
    raise HeldError(_read(path))


def _ended_owner(path: pathlib.Path) -> str | None:
    """Describes the owner of a lock, which has ended; None if the lock is gone.

    Raises:
      HeldError: If the owner is alive.
    """
    owner, age = _read(path), _age(path)
    if age is None:
        return None
    if owner is None or owner.machine != _machine():
        if age < STALE_SECONDS:
            raise HeldError(owner)
    elif _process_start(owner.pid) == owner.process_start:
        raise HeldError(owner)
    return "an unknown process" if owner is None else str(owner)


@contextlib.contextmanager
def _takeover(path: pathlib.Path) -> Iterator[None]:
    """Lets one process at a time judge a lock and replace it.

    Raises:
      HeldError: If another process does so.
    """
    guard = path.with_name(f"{path.name}.takeover")
    age = _age(guard)
    if age is not None and age > STALE_SECONDS:
        guard.unlink(missing_ok=True)
    if not _create(guard, this_process()):
        raise HeldError(_read(guard))
    try:
        yield
    finally:
        guard.unlink(missing_ok=True)


def _create(path: pathlib.Path, owner: Owner) -> bool:
    """Writes a lock unless there is one."""
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(dataclasses.asdict(owner), file)
    return True


def _read(path: pathlib.Path) -> Owner | None:
    """Returns the owner of a lock, None if there is none or its lock is not whole."""
    try:
        return Owner(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _age(path: pathlib.Path) -> float | None:
    """Returns the seconds since a file's modification, None if it is gone.

    Both times are those of the file system, whose clock may differ from this machine's.
    """
    probe = path.with_name(f".{path.name}.clock-{uuid.uuid4().hex}")
    try:
        probe.touch()
        return probe.stat().st_mtime - path.stat().st_mtime
    except FileNotFoundError:
        return None
    finally:
        probe.unlink(missing_ok=True)


def _beat(path: pathlib.Path, own: Owner, ended: threading.Event) -> None:
    """Renews the modification time until the lock is released or lost."""
    while not ended.wait(BEAT_SECONDS):
        if _read(path) == own:
            with contextlib.suppress(OSError):
                os.utime(path)


def _machine() -> str:
    """Returns an identity of the running system and of its process numbers."""
    try:
        boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # no Linux
        return f"{socket.gethostname()} {uuid.getnode()}"


def _process_start(pid: int) -> str:
    """Returns the start of a process in ticks since the system's, "" if there is none."""
    if not os.path.isdir("/proc/self"):
        return _is_running(pid)
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *rest = stat.rpartition(")")[2].split()
    return "" if state in "ZX" else rest[18]


def _is_running(pid: int) -> str:
    """Returns "running" or "", where the system does not tell the start of a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:  # of another user
        pass
    return "running"
