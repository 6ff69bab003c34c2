"""Ctrl-C and SIGTERM as one exception, which waits for a checkpoint that is being written."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from tfds_medvqa.common.interrupts import SIGNALS, Interrupted, end_at_once

__all__ = [
    "SIGNALS",
    "Interrupted",
    "end_at_once",
    "keep_for_all",
    "kept",
    "postponed",
    "raised",
    "raised_here",
]


@dataclasses.dataclass
class _Postponing:
    """Blocks that the main thread is in.

    Attributes:
      blocks: Number of `postponed` blocks, one within the other.
      waiting: Signal that has come and was not raised yet.
      together: True if signals wait until several hosts have told each other.
    """

    blocks: int = 0
    waiting: int | None = None
    together: bool = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raises the exception of a signal, or keeps the signal; of two the second is raised."""
        del frame
        if self.blocks == 0 and (not self.together or self.waiting is not None):
            raise Interrupted(number)
        self.waiting = number


_postponing = _Postponing()


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Interrupted` in the main thread when a signal of `SIGNALS` comes."""
    _postponing.waiting = None
    before = {number: signal.signal(number, _postponing.handle) for number in SIGNALS}
    try:
        yield
    finally:
        _postponing.together = False
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def postponed() -> Iterator[None]:
    """Lets the block run to its end before `Interrupted` is raised; no effect in other threads."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _postponing.blocks += 1
    try:
        yield
    finally:
        _postponing.blocks -= 1
    if _postponing.blocks == 0 and _postponing.waiting is not None and not _postponing.together:
        number, _postponing.waiting = _postponing.waiting, None
        raise Interrupted(number)


def keep_for_all() -> None:
    """Keeps signals from now on, until the hosts have told each other and end together."""
    _postponing.together = True


def kept() -> int:
    """Returns the number of a signal that waits for the other hosts; 0 if there is none."""
    return (_postponing.waiting or 0) if _postponing.together else 0


@contextlib.contextmanager
def raised_here() -> Iterator[None]:
    """Raises signals in the block at once, although hosts otherwise end together."""
    together, _postponing.together = _postponing.together, False
    try:
        if _postponing.waiting is not None:
            raise Interrupted(_postponing.waiting)
        yield
    finally:
        _postponing.together = together
