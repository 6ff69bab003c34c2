"""Ctrl-C and SIGTERM as one exception, which waits for a checkpoint that is being written."""

import contextlib
import dataclasses
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType

from tfds_medvqa.common.interrupts import (
    PARENT_SAYS_IT,
    SIGNALS,
    Interrupted,
    end_at_once,
    is_said_by_parent,
)

__all__ = [
    "PARENT_SAYS_IT",
    "SIGNALS",
    "Interrupted",
    "end_at_once",
    "is_said_by_parent",
    "keep_for_all",
    "kept",
    "postponed",
    "raised",
    "raised_here",
    "restored",
]

SAME_SECONDS = 1.0
"""Time after a signal in which another one asks for the same: a terminal signals a command and its
workers, and the command then signals its workers."""

RETRY_SECONDS = 0.05
"""Time after which a signal is raised again that Python could not raise."""


@dataclasses.dataclass
class _Postponing:
    """Blocks that the main thread is in.

    Attributes:
      blocks: Number of `postponed` blocks, one within the other.
      waiting: Signal that has come and was not raised yet.
      together: True if signals wait until several hosts have told each other.
      last: Time of the last signal that was raised, in seconds of a monotonic clock.
      raised: That signal; None before the first one.
    """

    blocks: int = 0
    waiting: int | None = None
    together: bool = False
    last: float = -math.inf
    raised: int | None = None

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raises the exception of a signal, or keeps the signal; of two the second is raised."""
        del frame
        if self.blocks or (self.together and self.waiting is None):
            self.waiting = number
        elif time.monotonic() > self.last + SAME_SECONDS:
            self.last, self.raised = time.monotonic(), number
            raise Interrupted(number)

    def retry(self, number: int) -> None:
        """Lets a signal be raised in a moment, in whatever the main thread then runs."""
        started, main = threading.Event(), threading.main_thread().ident

        def again() -> None:
            started.wait()
            time.sleep(RETRY_SECONDS)
            if signal.getsignal(number) == self.handle and main is not None:
                self.last = -math.inf
                signal.pthread_kill(main, number)  # wakes it, too

        threading.Thread(target=again, daemon=True).start()
        started.set()


_postponing = _Postponing()


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Interrupted` in the main thread when a signal of `SIGNALS` comes.

    Python ignores what is raised in a garbage collection or in a finaliser, and JAX has some of
    its own there. A signal that comes in one is raised after it.
    """
    _postponing.waiting, _postponing.last = None, -math.inf
    before = {number: signal.signal(number, _postponing.handle) for number in SIGNALS}
    hook = sys.unraisablehook

    def unraisable(ignored: "sys.UnraisableHookArgs") -> None:
        if isinstance(ignored.exc_value, Interrupted):
            _postponing.retry(ignored.exc_value.signal)
        else:
            hook(ignored)

    sys.unraisablehook = unraisable
    try:
        with restored():
            yield
    finally:
        sys.unraisablehook = hook
        _postponing.together, _postponing.raised = False, None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """Raises `Interrupted` in place of an error that code below made of it, as some in C does."""
    try:
        yield
    except Exception as error:
        if _postponing.raised is not None:
            raise Interrupted(_postponing.raised) from error
        raise


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
