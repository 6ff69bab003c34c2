"""Ctrl-C and SIGTERM as one exception, which waits for a checkpoint that is being written."""

import contextlib
import dataclasses
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a command: Ctrl-C, and what a preempted machine sends before it goes away."""


class Interrupted(BaseException):
    """A signal that asks the process to end; no `except Exception` stops it.

    Attributes:
      signal: The signal.
    """

    def __init__(self, number: int) -> None:
        """Makes the exception of a signal."""
        self.signal = signal.Signals(number)
        super().__init__(f"stopped by {self.signal.name}; the same command again goes on")

    @property
    def exit_status(self) -> int:
        """Exit status as shells give it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal


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


def end_at_once() -> None:
    """Lets a signal end the process with its line and status, until `raised` handles signals.

    It is for the seconds in which a command imports its modules: nothing is lost there, and an
    exception could be taken for a failed import.
    """
    for number in SIGNALS:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    del frame
    interruption = Interrupted(number)
    with contextlib.suppress(RuntimeError, OSError):  # as in the middle of another print
        sys.stdout.flush()
        print(f"error: {interruption}", file=sys.stderr, flush=True)
    os._exit(interruption.exit_status)


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
