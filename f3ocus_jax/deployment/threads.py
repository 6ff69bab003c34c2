"""A transport inside one process: a thread and a queue for each site, and time that can be made up.

Time stands still while a site works and passes at once while nobody does, so that a test of a
deadline waits for nothing.
"""

import heapq
import itertools
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

AnswerTask: TypeAlias = Callable[[bytes], bytes | None]
"""Task -> answer; None if none leaves the site."""

Fault: TypeAlias = Callable[[str, bytes, bytes], Iterable[tuple[float, bytes]]]
"""(site, task, answer) -> what arrives instead: seconds after the answer, and bytes."""


def no_fault(site: str, task: bytes, answer: bytes) -> Iterable[tuple[float, bytes]]:
    """Lets an answer arrive at once."""
    del site, task
    return [(0.0, answer)]


class Threads:
    """A `Transport` to sites of this process, of which one works at a time.

    Attributes:
      sites: Site to the function that answers its tasks; may be replaced.
    """

    def __init__(self, sites: Mapping[str, AnswerTask], fault: Fault = no_fault) -> None:
        """Starts the threads; the transport is a context manager that ends them.

        Args:
          sites: Site to the function that answers its tasks.
          fault: Change of answers on their way.
        """
        self.sites, self._fault = dict(sites), fault
        self._now, self._working = 0.0, 0
        self._order = itertools.count()
        self._arriving: list[tuple[float, int, str, bytes]] = []
        self._error: BaseException | None = None
        self._changed, self._turn = threading.Condition(), threading.Lock()
        self._tasks: dict[str, queue.SimpleQueue[bytes | None]] = {
            name: queue.SimpleQueue() for name in sites
        }
        self._threads = [
            threading.Thread(target=self._work, args=(name,), daemon=True) for name in sites
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Threads":
        return self

    def __exit__(self, *error: object) -> None:
        for tasks in self._tasks.values():
            tasks.put(None)
        for thread in self._threads:
            thread.join()

    def clock(self) -> float:
        """Returns the time in seconds."""
        return self._now

    def send(self, site: str, task: bytes) -> None:
        """Hands a task to a site, see `Transport`."""
        with self._changed:
            self._working += 1
        self._tasks[site].put(task)

    def receive(self, seconds: float) -> tuple[str, bytes] | None:
        """Waits for the next answer, see `Transport`.

        Raises:
          BaseException: What a site has raised.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._has_arrived() or not self._working or self._error)
            if self._error is not None:
                raise self._error
            until = self._now + seconds
            if not self._arriving or self._arriving[0][0] > until:
                self._now = until
                return None
            arrival, _, site, answer = heapq.heappop(self._arriving)
            self._now = max(self._now, arrival)
            return site, answer

    def _has_arrived(self) -> bool:
        return bool(self._arriving) and self._arriving[0][0] <= self._now

    def _work(self, name: str) -> None:
        while (task := self._tasks[name].get()) is not None:
            arriving: list[tuple[float, bytes]] = []
            error: BaseException | None = None
            try:
                with self._turn:
                    answer = self.sites[name](task)
                    arriving = [] if answer is None else list(self._fault(name, task, answer))
            except BaseException as raised:  # Raised again where it can be seen.
                error = raised
            with self._changed:
                for delay, data in arriving:
                    entry = (self._now + delay, next(self._order), name, data)
                    heapq.heappush(self._arriving, entry)
                self._error = self._error or error
                self._working -= 1
                self._changed.notify_all()
