"""The server's half before round 1: which sites are there, and on which classes all agree."""

import secrets
from typing import cast

from f3ocus_jax.deployment import classes, facts as facts_lib, wire
from f3ocus_jax.deployment.classes import ANSWERS, FINDINGS, Agreement
from f3ocus_jax.deployment.facts import Facts
from f3ocus_jax.deployment.joining_messages import (
    NO_LAYOUT,
    SIZES,
    Invite,
    Join,
    Setup,
)
from f3ocus_jax.deployment.settings import DeploymentConfig
from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING

OF_TASK = {ANSWERS: QUESTION_ANSWERING, FINDINGS: CLASSIFICATION}
"""List of classes to the task that it is for."""

SALT_BYTES = 16


class Joining:
    """Invitations, joins and the classes that follow from them.

    Attributes:
      names: Names of the sites, in the federation's order.
      joined: Site to what it said of itself.
      agreement: The classes; None before `agree`.
    """

    def __init__(
        self, settings: DeploymentConfig, facts: Facts, agreement: Agreement | None = None
    ) -> None:
        """Begins without any site.

        Args:
          settings: Names of the sites, and files of classes.
          facts: Facts that all sites must have in common, see `facts.of_start`.
          agreement: Classes of the run that goes on; None to agree on them.

        Raises:
          ConfigError: If a file of classes cannot be used.
        """
        self.joined: dict[str, Join] = {}
        self.agreement = agreement
        self.names, self._facts = settings.sites, facts
        files = {ANSWERS: settings.answers, FINDINGS: settings.findings}
        self._given = {name: classes.read_list(path, name) for name, path in files.items() if path}
        self._salt = agreement.salt if agreement else secrets.token_hex(SALT_BYTES)

        for name, given in self._given.items():
            if agreement and getattr(agreement, name) not in ((), given):
                raise ConfigError(
                    f"config.deployment.{name} holds another list than when the run began: restore "
                    "it, or start in a new workdir"
                )

    @property
    def missing(self) -> list[str]:
        """Names of the sites that have not joined."""
        return [name for name in self.names if name not in self.joined]

    def invite(self, site: str) -> bytes:
        """Returns the message that asks a site to join."""
        wanted = self._hashed if self.agreement is None else ()
        return wire.encode(Invite(0, site, self._asked_salt, wanted))

    def take(self, site: str, data: bytes) -> Join:
        """Takes up a site's first message, also that of a site that was started again.

        A join without the hashes that are needed is none: its site stays among the missing.

        Args:
          site: Name of the site that sent it, as the transport knows it.
          data: The message.

        Raises:
          ProtocolError: If it is refused.
        """
        if site not in self.names:
            wire.refuse(site, "a message", "it is no site of this federation")
        message = cast(Join, wire.decode(data, NO_LAYOUT, wire.Expected((Join,), site, 0)))
        if names := facts_lib.differing(self._facts, message.facts):
            wire.refuse(site, message.kind, facts_lib.describe(names))
        before = self.joined.get(site, message)
        if any(getattr(message, name) != getattr(before, name) for name in SIZES):
            wire.refuse(site, message.kind, "it has other examples than when it first joined")
        if self.agreement is not None or message.salt == self._asked_salt:
            self.joined.setdefault(site, message)
        return message

    def agree(self) -> Agreement:
        """Returns the classes, once all sites have joined.

        Raises:
          ConfigError: If sites answer questions or find diseases, and there is no class for them.
        """
        if self.agreement is None:
            lists = {name: self._agree_on(name) for name in OF_TASK}
            hashed = tuple(name for name in self._hashed if lists[name])
            self.agreement = Agreement(self._salt if hashed else "", **lists, hashed=hashed)
        return self.agreement

    def setup(self, site: str, number: int) -> bytes:
        """Returns the message that lets a site build its model.

        Args:
          site: Name of the site.
          number: Round after which the server's model is.
        """
        agreed = self.agree()
        lists = (agreed.answers, agreed.findings, agreed.salt, agreed.hashed)
        return wire.encode(Setup(number, site, *lists))

    @property
    def _asked_salt(self) -> str:
        """Salt of an invitation; "" where no hashes are wanted."""
        return self._salt if self._hashed and self.agreement is None else ""

    @property
    def _hashed(self) -> tuple[str, ...]:
        """Lists that no file gives, sorted."""
        return tuple(name for name in (ANSWERS, FINDINGS) if name not in self._given)

    def _agree_on(self, name: str) -> tuple[str, ...]:
        sites = [one for one in self.joined.values() if one.task == OF_TASK[name]]
        if not sites:
            return ()
        agreed = self._given.get(name) or classes.union(getattr(one, name) for one in sites)
        if not agreed:
            raise ConfigError(
                f"no site has any of the {name} often enough: lower "
                f"config.data.minimum_answer_count, or give a list in config.deployment.{name}"
            )
        return agreed
