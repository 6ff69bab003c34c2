"""Transport over a Flower Grid: sites are the names under which SuperNodes are registered."""

import collections
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

POLL_SECONDS = 0.5
"""Time between two looks for replies."""

RETRY_SECONDS = 10.0
"""Time after which a task is sent again that Flower or the site's ClientApp could not deliver. It
doubles with each time, since each starts a process, and a busy machine must not be kept busy."""

LONGEST_RETRY_SECONDS = 160.0

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Outgoing:
    """The newest task of a site, until the site has answered it.

    Attributes:
      task: Its bytes.
      message: Flower's name of the message that carries it; None if it has not been sent.
      earliest: Time from which it may be sent, on the transport's clock.
      retry: Seconds until it is sent again, if it cannot be delivered.
    """

    task: bytes
    message: str | None = None
    earliest: float = 0.0
    retry: float = RETRY_SECONDS


class GridTransport:
    """A `Transport` whose sites are SuperNodes.

    Flower knows a SuperNode by its key, and its name is the one that was registered with the key:
    a site cannot choose it. A task waits until a SuperNode of that name is online; one that is
    registered anew, under another node id, gets the next message.
    """

    def __init__(
        self,
        grid: Any,
        make_message: Callable[[bytes, int], Any],
        read_message: Callable[[Any], bytes],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Sends nothing yet.

        Args:
          grid: The `flwr.serverapp.Grid` of the run.
          make_message: Makes a message from a task and a node id.
          read_message: Returns the answer in a reply that is no error; raises ValueError if there
            is none.
          clock: Time, in seconds.
          sleep: Waits for a number of seconds.
        """
        self._grid, self._make, self._read = grid, make_message, read_message
        self._clock, self._sleep = clock, sleep
        self._outgoing: dict[str, Outgoing] = {}
        self._sites: collections.OrderedDict[str, str] = collections.OrderedDict()
        self._said: set[str] = set()

    def send(self, site: str, task: bytes) -> None:
        """Keeps a task for the next `receive`, which sends it once the site is online.

        A task that is on its way already is not sent again.

        Args:
          site: Name of the site.
          task: The task. It replaces an earlier one that has not been sent yet.
        """
        before = self._outgoing.get(site)
        if before is None or before.task != task:
            self._outgoing[site] = Outgoing(task)

    def receive(self, seconds: float) -> tuple[str, bytes] | None:
        """Sends what is kept, and waits for the next answer.

        Args:
          seconds: Longest time to wait, >= 0; uploading large tasks may take longer.

        Returns:
          (name of the site, its answer); None if none came.
        """
        deadline = self._clock() + seconds
        while True:
            self._push()
            received = self._pull()
            left = deadline - self._clock()
            if received is not None or left <= 0:
                return received
            self._sleep(min(POLL_SECONDS, left))

    def _push(self) -> None:
        """Sends the tasks whose sites are online, one after the other: each may be large."""
        waiting = {
            site: outgoing
            for site, outgoing in self._outgoing.items()
            if outgoing.message is None and outgoing.earliest <= self._clock()
        }
        nodes = self._online() if waiting else {}
        for site in [site for site in waiting if site in nodes]:
            message = self._make(waiting[site].task, nodes[site])
            (name,) = list(self._grid.push_messages([message])) or [None]
            if name is None:
                self._put_off(site, "Flower did not take the message")
            else:
                waiting[site].message, self._sites[name] = name, site

    def _online(self) -> dict[str, int]:
        """Returns site to node id; of two of one name, the one that was registered last."""
        found: dict[str, int] = {}
        for node in sorted(self._grid.get_nodes(), key=lambda node: node.registered_at):
            if not node.name:
                self._say_once(f"SuperNode {node.node_id} is registered without a name")
            elif node.name in found:
                self._say_once(f"two SuperNodes are registered as {node.name!r}")
            if node.name:
                found[node.name] = node.node_id
        return found

    def _pull(self) -> tuple[str, bytes] | None:
        """Returns the first answer; one message is asked for at a time, since each may be large."""
        for name in list(self._sites):
            self._sites.move_to_end(name)  # whose turn it was waits longest next time
            replies = list(self._grid.pull_messages([name]))
            if replies:
                site = self._sites.pop(name)
                answer = self._take(site, name, replies[0])
                if answer is not None:
                    return site, answer
        return None

    def _take(self, site: str, name: str, reply: Any) -> bytes | None:
        """Returns the answer in a reply, None for an error; then the task is sent again."""
        outgoing = self._outgoing.get(site)
        is_newest = outgoing is not None and outgoing.message == name
        try:
            problem = reply.error.reason if reply.has_error() else ""
            answer = None if reply.has_error() else self._read(reply)
        except ValueError as error:
            problem, answer = str(error), None
        if answer is None and is_newest:
            self._put_off(site, problem)
        elif is_newest:
            del self._outgoing[site]
        return answer

    def _put_off(self, site: str, problem: str) -> None:
        outgoing, shown = self._outgoing[site], " ".join(problem.split())
        logger.warning("site %s: %s; asked again in %.0f s", site, shown, outgoing.retry)
        outgoing.message, outgoing.earliest = None, self._clock() + outgoing.retry
        outgoing.retry = min(2 * outgoing.retry, LONGEST_RETRY_SECONDS)

    def _say_once(self, problem: str) -> None:
        if problem not in self._said:
            logger.warning("%s", problem)
            self._said.add(problem)
