"""Ctrl-C and SIGTERM as one exception, which waits for a checkpoint that is being written."""

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from tfds_medvqa.common.interrupts import SIGNALS, Interrupted, end_at_once

__all__ = ["SIGNALS", "Interrupted", "end_at_once", "postponed", "raised"]


@dataclasses.dataclass
class _Postponing:
    """Blocks that the main thread is in.

    Attributes:
      blocks: Number of `postponed` blocks, one within the other.
      waiting: Signal that came in one of them.
    """

    blocks: int = 0
    waiting: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raises the exception of a signal, or keeps the signal until the outer block ends."""
        del frame
        if self.blocks == 0:
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
    if _postponing.blocks == 0 and _postponing.waiting is not None:
        number, _postponing.waiting = _postponing.waiting, None
        raise Interrupted(number)
