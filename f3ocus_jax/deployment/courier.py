"""Delivery of tasks to sites, with a deadline and a line whenever nothing has been said for long.

Nothing that a site sends ends the run: what is refused becomes one line.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence

from f3ocus_jax.deployment.settings import WAIT, DeploymentConfig
from f3ocus_jax.deployment.transport import Transport
from f3ocus_jax.errors import ProtocolError, RoundError
from tfds_medvqa.common.printable import printable

logger = logging.getLogger(__name__)

Clock = Callable[[], float]
"""Returns the seconds since any moment, as `time.monotonic`."""

LONGEST_NAME = 60


@dataclasses.dataclass(frozen=True)
class Errand:
    """Tasks that are sent together.

    Attributes:
      what: Round and stage in words.
      tasks: Site to its task; may change while answers come.
      seconds: Time for all of them.
      enough: Sites that must answer.
      missing: Returns the sites that have not answered.
      take: Takes up a message of a site; raises ProtocolError if it is refused.
    """

    what: str
    tasks: dict[str, bytes]
    seconds: float
    enough: int
    missing: Callable[[], Sequence[str]]
    take: Callable[[str, bytes], None]


class Courier:
    """Errands over one transport.

    Attributes:
      transport: The transport.
    """

    def __init__(self, transport: Transport, settings: DeploymentConfig, clock: Clock) -> None:
        """Sends nothing yet.

        Args:
          transport: The transport.
          settings: Deadlines, and what to do if they pass.
          clock: Time.
        """
        self.transport, self._settings, self._clock = transport, settings, clock
        self._unwilling: set[str] = set()

    def give_up(self, site: str) -> None:
        """Waits no more for a site, until tasks are sent again."""
        self._unwilling.add(site)

    def run(self, errand: Errand) -> None:
        """Sends tasks, and returns when all sites have answered or the time has passed.

        Args:
          errand: The tasks.

        Raises:
          RoundError: If fewer than `errand.enough` sites have answered in time, and
            `config.deployment.too_few` is "stop".
        """
        self._send(errand)
        start = said = self._clock()
        while errand.missing():
            now = self._clock()
            left, silent = start + errand.seconds - now, said + self._settings.report_seconds - now
            if left <= 0 or (self._is_hopeless(errand) and self._may_end(errand)):
                if self._end(errand):
                    return
                self._send(errand)
                start = said = now
            elif silent <= 0:
                self._say(errand, "waits for", f"{left:.0f} s are left")
                said = now
            else:
                self._receive(errand, min(left, silent))

    def _send(self, errand: Errand) -> None:
        self._unwilling.clear()
        for site in errand.missing():
            self.transport.send(site, errand.tasks[site])

    def _receive(self, errand: Errand, seconds: float) -> None:
        received = self.transport.receive(seconds)
        if received is None:
            return
        try:
            errand.take(*received)
        except ProtocolError as problem:
            logger.warning("%s: refused: %s", errand.what, problem)

    def _is_hopeless(self, errand: Errand) -> bool:
        return self._unwilling.issuperset(errand.missing())

    def _may_end(self, errand: Errand) -> bool:
        has_enough = len(errand.tasks) - len(errand.missing()) >= errand.enough
        return has_enough or self._settings.too_few != WAIT

    def _end(self, errand: Errand) -> bool:
        """Returns True to go on without the missing sites, False to ask them again."""
        late = f"no answer within {errand.seconds:.0f} s"
        came = len(errand.tasks) - len(errand.missing())
        if came >= errand.enough:
            self._say(errand, "goes on without", late)
            return True
        if self._settings.too_few == WAIT:
            self._say(errand, "asks again", late)
            return False
        raise RoundError(
            f"{errand.what}: {came} sites have answered, must be at least {errand.enough}: "
            f"{late} from {_listed(errand.missing())}; start the same run again to go on after its "
            'newest checkpoint, or set config.deployment.too_few = "wait"'
        )

    def _say(self, errand: Errand, what: str, why: str) -> None:
        logger.warning("%s: %s %s (%s)", errand.what, what, _listed(errand.missing()), why)


def _listed(sites: Sequence[str], most: int = 10) -> str:
    more = f" and {len(sites) - most} more" if len(sites) > most else ""
    return ", ".join(printable(name, LONGEST_NAME) for name in sites[:most]) + more
