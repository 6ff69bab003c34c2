"""Process of a site: its data, its memory on disk, and its answers to the server."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import pathlib
from typing import Any, cast

from f3ocus_jax.data import partition, reading
from f3ocus_jax.data.answers import AnswerVocabulary, count_answers
from f3ocus_jax.data.reading import Federation
from f3ocus_jax.data.table import Table
from f3ocus_jax.data.targets import finding_names
from f3ocus_jax.data.validation import VALIDATION
from f3ocus_jax.deployment import classes, facts, halves, site_account, wire
from f3ocus_jax.deployment.classes import ANSWERS, FINDINGS, Agreement
from f3ocus_jax.deployment.joining_messages import NO_LAYOUT, Invite, Join, Refusal, Setup
from f3ocus_jax.deployment.messages import Message, ModelTask
from f3ocus_jax.deployment.outbound import OutboundLog
from f3ocus_jax.deployment.settings import DeployedConfig
from f3ocus_jax.deployment.site import Site
from f3ocus_jax.deployment.site_memory import SiteMemory, newest_round
from f3ocus_jax.errors import ConfigError, DataError, ProtocolError, WeightsError
from f3ocus_jax.federation import assembly, run_lock
from f3ocus_jax.models.spec import GENERATE
from f3ocus_jax.privacy.account import Spent
from tfds_medvqa.common.features import QUESTION_ANSWERING
from tfds_medvqa.common.printable import printable

logger = logging.getLogger(__name__)

MEMORY = "memory"
"""Folder of the memories in that of the site."""

LONGEST_PROBLEM = 300
"""Characters of a problem that the server is told."""


class OpenSite:
    """A site that answers; what it must not forget is on disk before each answer leaves.

    Its functions are called one at a time.

    Attributes:
      name: Name of the site, `config.deployment.site`.
      splits: Name of a split to its examples.
      facts: Hashes of all that members must have in common, see `facts.of_start`.
    """

    def __init__(self, config: DeployedConfig, folder: pathlib.Path) -> None:
        """Reads the site's data; see `open_site`."""
        self.name = config.deployment.site
        self._config, self._folder = config.experiment, folder
        self._held = contextlib.ExitStack()
        self._tokenizer, canvas = assembly.check_inputs(self._config)
        clients, self._summary = reading.read_tables(self._config.data, canvas)
        self.splits = _own_splits(clients, self.name)
        (self._task,) = partition.client_tasks([self.splits])
        self.facts = facts.of_start(self._config, self._tokenizer)
        self._agreement: Agreement | None = None
        self._site: Site | None = None
        self._memory: SiteMemory | None = None
        self._last: tuple[bytes, Message, bytes] | None = None
        self._log = OutboundLog(folder)

    def __enter__(self) -> "OpenSite":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process use the folder."""
        self._held.close()

    def hold(self, resources: contextlib.ExitStack) -> None:
        """Gives the site what `close` has to give back."""
        self._held = resources

    def join(self) -> bytes:
        """Returns the first message of the site, for an engine in which sites may speak first."""
        return self._leave(self._join("", ()))

    def answer(self, data: bytes) -> bytes:
        """Answers one task; bytes that are refused are answered by a refusal.

        A task that comes twice in a row is answered as before. A site that does not know the
        classes yet, as one that was started again, answers every task of a round with its join.

        Args:
          data: Any bytes that claim to be a task.

        Returns:
          The answer.

        Raises:
          OSError: If the log of what leaves cannot be written; the answer stays here.
        """
        if self._last is not None and self._last[0] == data:
            _, message, answer = self._last
            self._log.note(message, answer, self._spent, again=True)
            return answer
        try:
            message = self._respond(data)
        except ProtocolError as problem:
            logger.warning("refused: %s", problem)
            message = Refusal(0, self.name, printable(str(problem), LONGEST_PROBLEM))
        except (ConfigError, DataError, WeightsError) as problem:
            # What it says may quote data, and stays here.
            logger.error("%s", problem)
            message = Refusal(0, self.name, f"a {type(problem).__name__}, which its log explains")
        answer = self._leave(message)
        self._last = (data, message, answer)
        return answer

    def _leave(self, message: Message) -> bytes:
        """Returns the bytes of a message, once the log has them: the only way out of the site."""
        data = wire.encode(message)
        self._log.note(message, data, self._spent)
        return data

    @property
    def _spent(self) -> Spent | None:
        account = None if self._site is None else self._site.account
        return None if account is None else account.spent

    def _respond(self, data: bytes) -> Message:
        kind = wire.kind_of(data)
        if kind == Invite.kind:
            invite = cast(Invite, self._decode(data, Invite))
            return self._join(invite.salt, invite.wanted)
        if kind == Setup.kind:
            return self._set_up(cast(Setup, self._decode(data, Setup)))
        if self._site is None or self._memory is None:
            return self._join("", ())
        return self._do(data, self._site, self._memory)

    def _do(self, data: bytes, site: Site, kept: SiteMemory) -> Message:
        """Does a task of a round; a task that is refused leaves the site as it was."""
        task, memory = site.read(data), site.memory
        if not isinstance(task, ModelTask):
            return site.do(task)
        site.memory = kept.before(task)
        try:
            message = site.do(task)
        except ProtocolError:
            site.memory = memory
            raise
        if site.account is not None:
            site_account.write(self._folder, site.account)
        kept.keep(task, site.memory)
        return message

    def _join(self, salt: str, wanted: tuple[str, ...]) -> Join:
        """Returns what the server must know first, with the hashes of the lists that it wants."""
        own = self._own_classes()
        lists = {
            name: classes.hashes(salt, name, own[name]) if name in wanted else () for name in own
        }
        sizes = {split: len(table) for split, table in self.splits.items() if len(table)}
        test = sizes.get("test") if self._config.evaluation.test else None
        counts = {"train": sizes["train"], "test": test, "validation": sizes.get(VALIDATION)}
        memory = newest_round(self._folder / MEMORY)
        told = {"facts": self.facts, "salt": salt, "memory": memory}
        known: dict[str, Any] = {**lists, **counts, **told}
        return Join(0, self.name, task=self._task, **known)

    def _own_classes(self) -> dict[str, tuple[str, ...]]:
        """Returns the classes of the site's training examples, by the name of their list."""
        least = self._config.data.minimum_answer_count
        answers: tuple[str, ...] = ()
        if self._task == QUESTION_ANSWERING:
            counts = count_answers([self.splits["train"].texts("answer")])
            answers = tuple(text for text, count in counts.items() if count >= least)
        return {ANSWERS: answers, FINDINGS: finding_names([self.splits])}

    def _set_up(self, setup: Setup) -> Message:
        """Builds the model of the agreed classes, unless it is there; goes back to a round."""
        agreement = Agreement(setup.salt, setup.answers, setup.findings, setup.hashed)
        if self._site is None or agreement != self._agreement:
            self._site, self._memory = self._build(agreement)
            self._agreement = agreement
        self._site.go_back_to(setup.round)
        return dataclasses.replace(self._site.ready(), round=setup.round)

    def _build(self, agreement: Agreement) -> tuple[Site, SiteMemory]:
        federation, foundation, _ = assembly.load_model(self._config, self._federation(agreement))
        site = halves.make_site(self._config, foundation, federation.clients[0])
        if site.account is not None:
            site.account = site_account.read(self._folder, site.account)
        run = hashlib.sha256(json.dumps(site.ready().facts, sort_keys=True).encode()).hexdigest()
        return site, SiteMemory(self._folder / MEMORY, run, site.memory)

    def _federation(self, agreement: Agreement) -> Federation:
        """Returns the site as a federation of one client, whose classes are named as agreed."""
        own = self._own_classes()
        federation = reading.make_federation(
            self._config.data,
            {self.name: self.splits},
            self._summary,
            tokenizer=self._tokenizer,
            vocabulary=AnswerVocabulary(agreement.known(ANSWERS, own[ANSWERS])),
            findings=agreement.known(FINDINGS, own[FINDINGS]),
            writes_answers=self._config.model.answering == GENERATE,
        )
        if not federation.clients:
            raise DataError(f"no training example of {self.name} has an answer that is a class")
        vocabulary = AnswerVocabulary(agreement.answers)
        return dataclasses.replace(federation, vocabulary=vocabulary, findings=agreement.findings)

    def _decode(self, data: bytes, kind: type[Message]) -> Message:
        return wire.decode(data, NO_LAYOUT, wire.Expected((kind,), self.name))


def open_site(config: DeployedConfig, folder: pathlib.Path) -> OpenSite:
    """Opens a site: reads its own data, and what an earlier process of it has left.

    Args:
      config: Settings of the site; `config.deployment.site` is its name.
      folder: Absolute path of the folder of the site's memory, made if absent.

    Returns:
      The site, which is to be closed.

    Raises:
      BuildError, ConfigError, DataError, WeightsError: If data or settings cannot be used.
      LockedError: If another process of the site uses the folder.
    """
    config.deployment.check_site()
    with contextlib.ExitStack() as resources:
        resources.enter_context(run_lock.owned(folder))
        site = OpenSite(config, folder)
        site.hold(resources.pop_all())
    return site


def _own_splits(clients: dict[str, dict[str, Table]], name: str) -> dict[str, Table]:
    """Returns the splits of a site: those of the client of its name, or of the only client."""
    if name in clients:
        return clients[name]
    if len(clients) == 1:
        return next(iter(clients.values()))
    raise ConfigError(
        f"config.deployment.site = {name!r}, must be one of {', '.join(map(printable, clients))}, "
        "the clients of config.data.datasets"
    )
