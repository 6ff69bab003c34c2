"""Transport over NVFlare's Collab API: one call for a task, whose result is the answer."""

import logging
import queue
from collections.abc import Callable, Mapping
from concurrent import futures
from typing import Any, Self

from nvflare.collab import CollabCallError
from nvflare.collab.api.exceptions import RunAborted

from f3ocus_jax.errors import HostError

ABORT_SECONDS = 1.0
"""Longest time until an aborted job is noticed."""

CALLS_PER_SITE = 8
"""Calls of a site that may be under way: that of its task, and older ones that it has not ended."""

logger = logging.getLogger(__name__)


class CollabTransport:
    """A `Transport` whose sites are Collab proxies.

    NVFlare knows a site by its certificate, and a proxy belongs to one site.
    """

    def __init__(
        self, proxies: Mapping[str, Any], seconds: float, is_aborted: Callable[[], bool]
    ) -> None:
        """Makes the transport.

        Args:
          proxies: Site to its Collab proxy, which publishes `answer`.
          seconds: Longest time of a call; the server's deadlines are not longer.
          is_aborted: Returns True once the job has been aborted.
        """
        self._proxies, self._seconds, self._is_aborted = proxies, seconds, is_aborted
        self._received: queue.Queue[tuple[str, bytes]] = queue.Queue()
        workers = CALLS_PER_SITE * max(1, len(proxies))
        self._calls = futures.ThreadPoolExecutor(workers, "f3ocus_call")

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Forgets calls that have not begun."""
        self._calls.shutdown(wait=False, cancel_futures=True)

    def send(self, site: str, task: bytes) -> None:
        """Calls a site, and returns at once.

        Args:
          site: Name of the site; one that is not in the job gets nothing.
          task: The task.
        """
        if site in self._proxies:
            self._calls.submit(self._call, site, task)
        else:
            logger.warning("site %s is not in this job", site)

    def receive(self, seconds: float) -> tuple[str, bytes] | None:
        """Waits for the next answer.

        Args:
          seconds: Longest time to wait, >= 0.

        Returns:
          (name of the site, its answer); None if none came.

        Raises:
          HostError: If the job has been aborted.
        """
        left = seconds
        while True:
            if self._is_aborted():
                raise HostError("the NVFlare job has been aborted")
            try:
                return self._received.get(timeout=max(0.0, min(left, ABORT_SECONDS)))
            except queue.Empty:
                left -= ABORT_SECONDS
                if left <= 0:
                    return None

    def _call(self, site: str, task: bytes) -> None:
        try:
            answer = self._proxies[site](timeout=self._seconds).answer(task)
        except (CollabCallError, RunAborted) as error:
            logger.warning("site %s: %s", site, error)
        else:
            self._received.put((site, answer))
