"""Ctrl-C and SIGTERM as one line and an exit status, also while a command imports its modules."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""Signals that end a command: Ctrl-C, and what a preempted machine sends before it goes away."""

GOES_ON = "the same command again goes on"
ANEW = "the same command again builds it anew"
"""What to do next, after a run and after a build."""


PARENT_SAYS_IT = "F3OCUS_PARENT_SAYS_IT"
"""Environment variable of the processes whose parent prints the line for all of them."""


class Interrupted(BaseException):
    """A signal that asks the process to end; no `except Exception` stops it.

    Attributes:
      signal: The signal.
    """

    def __init__(self, number: int, remedy: str = GOES_ON) -> None:
        """Makes the exception of a signal; its message ends with what to do next."""
        self.signal = signal.Signals(number)
        super().__init__(f"stopped by {self.signal.name}; {remedy}")

    @property
    def exit_status(self) -> int:
        """Exit status as shells give it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.signal


def is_said_by_parent() -> bool:
    """Returns True if this process ends without a line of its own."""
    return bool(os.environ.get(PARENT_SAYS_IT))


def is_command(package: str) -> bool:
    """Returns True while Python looks for the module of `python -m PACKAGE.COMMAND`."""
    given = sys.orig_argv
    module = given[given.index("-m") + 1 :][:1] if "-m" in given else []
    return sys.argv[:1] == ["-m"] and module[0].startswith(f"{package}.") if module else False


def end_at_once(remedy: str = GOES_ON) -> None:
    """Lets a signal end the process with its line and status, until other handlers are set.

    It is for the seconds in which a command imports its modules: nothing is lost there, and an
    exception could be taken for a failed import.

    Args:
      remedy: Advice, the end of the line.
    """

    def end(number: int, frame: FrameType | None) -> None:
        del frame
        interruption = Interrupted(number, remedy)
        with contextlib.suppress(RuntimeError, OSError):  # as in the middle of another print
            sys.stdout.flush()
            if not is_said_by_parent():
                print(f"error: {interruption}", file=sys.stderr, flush=True)
        os._exit(interruption.exit_status)

    for number in SIGNALS:
        signal.signal(number, end)


@contextlib.contextmanager
def raised(remedy: str = GOES_ON) -> Iterator[None]:
    """Raises `Interrupted` in the main thread when a signal of `SIGNALS` comes.

    It also takes the place of an error that code below made of it, as some written in C does.

    Args:
      remedy: Advice, the end of the message.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        received.append(number)
        raise Interrupted(number, remedy)

    before = {number: signal.signal(number, interrupt) for number in SIGNALS}
    try:
        yield
    except Exception as error:
        if received:
            raise Interrupted(received[0], remedy) from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
