"""Transport of messages between a server and its sites, as an engine implements it."""

from typing import Protocol


class Transport(Protocol):
    """Bytes to and from sites by name; what the bytes hold is none of its business.

    An engine that knows who a site is by a certificate or a login passes that name on: the server
    refuses a message in which another site is named. Messages may be lost, late, repeated or
    changed; the server notices all of it.
    """

    def send(self, site: str, task: bytes) -> None:
        """Hands a task to a site that works or will work, and returns at once.

        Args:
          site: Name of the site.
          task: The task. It replaces an earlier one that the site has not fetched yet.
        """
        ...

    def receive(self, seconds: float) -> tuple[str, bytes] | None:
        """Waits for the next message of any site, also an unasked one or one to an old task.

        Args:
          seconds: Longest time to wait, >= 0.

        Returns:
          (name of the site, its message); None if none came.
        """
        ...
