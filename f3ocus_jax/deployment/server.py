"""The server's half of the protocol: it asks the sites, checks their answers, and never sees data.

A stage of a round is asked for (`ask_scores`, `ask_training`, `ask_metrics`), answered site by site
in any order (`take`), and then concluded (`scores`, `updates`, `metrics`). A site that has not
answered by then is left out as one that dropped out.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import jax
import numpy as np

from f3ocus_jax.aggregation import weights
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.deployment import answers as answers_lib, facts as facts_lib, wire
from f3ocus_jax.deployment.facts import Facts
from f3ocus_jax.deployment.joining_messages import Ready
from f3ocus_jax.deployment.layout import make_layout
from f3ocus_jax.deployment.messages import (
    NOTHING,
    EvaluateTask,
    Failure,
    Message,
    Metrics,
    ModelTask,
    Scores,
    ScoreTask,
    TrainTask,
    Update,
)
from f3ocus_jax.deployment.model_log import ModelLog
from f3ocus_jax.errors import ProtocolError
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.participation import DROPPED_OUT
from f3ocus_jax.federation.server_side import make_server_side
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.client_axis import put_clients, take_clients
from f3ocus_jax.federation.stages.client_work import describe_clients
from f3ocus_jax.federation.stages.evaluate import check_metrics
from f3ocus_jax.federation.stages.score import (
    ScoreAnswers,
    ScoredClients,
    client_keys,
    make_take_scores,
)
from f3ocus_jax.federation.stages.train import ReceivedUpdates, TrainingPlan, TrainingServer
from f3ocus_jax.importance import Importance
from f3ocus_jax.models import head as head_lib
from f3ocus_jax.types import Array, ServerState, TrainingOutcome

ANSWERS: dict[type[Message], tuple[type[Message], ...]] = {
    ScoreTask: (Scores, Failure),
    TrainTask: (Update, Failure),
    EvaluateTask: (Metrics,),
}
"""Task to what a site may answer."""


Exchange = Callable[[Mapping[str, bytes]], None]
"""Sends every site its task, and hands each answer that comes to `Server.take`."""


@dataclasses.dataclass(frozen=True)
class Asked:
    """Tasks that the server has sent and not concluded.

    Attributes:
      kind: Class of the tasks.
      number: Round number.
      state: State of the server when it asked.
      tasks: Site to its task; that of a site that was started again is replaced.
      answers: Site to its answer; fills up as they come.
      plan: Plan of the training, if it is one.
    """

    kind: type[Message]
    number: int
    state: ServerState
    tasks: dict[str, Message]
    answers: dict[str, Message] = dataclasses.field(default_factory=dict)
    plan: TrainingPlan | None = None


class Server:
    """The server: its choices and its model, without any example.

    Attributes:
      names: Names of the K sites, in the federation's order.
      side: Functions of the server.
      answers: Task to what a site may answer.
    """

    answers: ClassVar[Mapping[type[Message], tuple[type[Message], ...]]] = ANSWERS

    def __init__(
        self,
        config: ExperimentConfig,
        budgets: Budgets,
        start: ServerState,
        facts: Facts,
        number: int = 0,
    ) -> None:
        """Builds a server for which no site is ready yet.

        Args:
          config: Settings of the run.
          budgets: Limits of every site, and its participation.
          start: State before round 1.
          facts: Facts that all sites must have in common, see `facts.of_run`.
          number: Round after which the run goes on.
        """
        self.names = budgets.clients
        self.side = make_server_side(
            budgets,
            selection=config.selection,
            aggregation=config.aggregation,
            privacy=config.privacy,
        )
        self._config, self._budgets, self._facts = config, budgets, facts
        self._layout = make_layout(config, start.rows_L, start.head)
        self._first, self._log, self._held = (
            number,
            ModelLog(start),
            dict.fromkeys(self.names, NOTHING),
        )
        self._ready: dict[str, Ready] = {}
        self._asked: Asked | None = None
        self._take_scores = make_take_scores(
            self.names,
            budgets.participation,
            importance=config.importance,
            federated=config.federated,
            seed=config.seed,
        )

    def admit(self, site: str, data: bytes) -> None:
        """Takes up a site that is ready, also one that was started again.

        Args:
          site: Name of the site that sent it, as the transport knows it.
          data: The message.

        Raises:
          ProtocolError: If it is refused.
        """
        message = self._decode(site, data, wire.Expected((Ready,), site))
        if names := facts_lib.differing(self._facts, message.facts):
            wire.refuse(site, message.kind, facts_lib.describe(names))
        before = self._ready.get(site, message)
        if message.fields() != before.fields():
            wire.refuse(site, message.kind, "it has other examples than when it first joined")
        self._ready[site], self._held[site] = message, NOTHING

    def ask_again(self, site: str) -> bytes | None:
        """Returns a site's open task with the whole model, for a site that was started again.

        Args:
          site: Name of a site that was admitted again.

        Returns:
          The task; None if nothing is asked of the site, or it has answered.
        """
        asked = self._asked
        if asked is None or site not in self.missing:
            return None
        task = asked.tasks[site]
        if isinstance(task, ModelTask):
            whole = self._log.since(NOTHING)
            task = dataclasses.replace(task, since=NOTHING, parameters=whole)
        asked.tasks[site] = task
        return wire.encode(task)

    @property
    def clients(self) -> list[ClientData]:
        """The K sites, of whose splits only the sizes are known.

        Raises:
          ProtocolError: If a site is not ready.
        """
        for name in self.names:
            if name not in self._ready:
                wire.refuse(name, "ready", "it has not come yet")
        return [answers_lib.remote(self._ready[name]) for name in self.names]

    @property
    def unready(self) -> list[str]:
        """Names of the sites that are not ready."""
        return [name for name in self.names if name not in self._ready]

    @property
    def round(self) -> int:
        """Round after which the model is that the next task is about."""
        return max(self._first, self._log.round)

    @property
    def asking(self) -> type[Message]:
        """Class of the tasks that are not concluded.

        Raises:
          ProtocolError: If nothing is asked for.
        """
        return self._open.kind

    @property
    def number(self) -> int:
        """Round of the tasks that are not concluded; raises as `asking`."""
        return self._open.number

    @property
    def _open(self) -> Asked:
        if self._asked is None:
            raise ProtocolError("nothing is asked for")
        return self._asked

    @property
    def missing(self) -> list[str]:
        """Names of the sites that have not answered yet."""
        asked = self._asked
        return [] if asked is None else [name for name in asked.tasks if name not in asked.answers]

    def ask_scores(self, state: ServerState, number: int, key: jax.Array) -> dict[str, bytes]:
        """Returns the tasks of the score stage.

        Args:
          state: State after the last round.
          number: Round number.
          key: Key of the scores of the round.

        Returns:
          Site to its task, for the sites that take part in the round.
        """
        keys_K, present_K = client_keys(key, len(self.names)), self._present(number)
        given = {
            self.names[index]: (*self._changes(state, self.names[index]), keys_K[index])
            for index in np.flatnonzero(present_K)
        }
        tasks: dict[str, Message] = {name: ScoreTask(number, name, *given[name]) for name in given}
        return self._ask(Asked(ScoreTask, number, state, tasks))

    def ask_training(
        self, state: ServerState, number: int, mask_KL: Array, present_K: np.ndarray
    ) -> dict[str, bytes]:
        """Returns the tasks of the train stage.

        Args:
          state: State after the last round.
          number: Round number.
          mask_KL: bool, True where site k trains layer l.
          present_K: bool, sites that take part.
        """
        plan = self._training.plan(number, mask_KL, present_K, state.head)
        tasks: dict[str, Message] = {}
        for index in plan.who:
            name, layers_R = self.names[index], plan.layers_KR[index]
            used_R = layers_R[layers_R < self._layout.num_layers]
            steps = int(plan.steps_K[index])
            given = (*self._changes(state, name), used_R, len(layers_R), steps)
            tasks[name] = TrainTask(number, name, *given)
        return self._ask(Asked(TrainTask, number, state, tasks, plan=plan))

    def train(
        self,
        exchange: Exchange,
        state: ServerState,
        number: int,
        mask_KL: Array,
        present_K: np.ndarray,
    ) -> ReceivedUpdates:
        """Does the train stage; see `ask_training` and `updates`.

        Args:
          exchange: The transport.
          state: State after the last round.
          number: Round number.
          mask_KL: bool, True where site k trains layer l.
          present_K: bool, sites that take part.
        """
        exchange(self.ask_training(state, number, mask_KL, present_K))
        return self.updates()

    def ask_metrics(self, state: ServerState) -> dict[str, bytes]:
        """Returns the tasks of the evaluate stage, for all sites."""
        number = int(state.round)
        tasks: dict[str, Message] = {
            name: EvaluateTask(number, name, *self._changes(state, name)) for name in self.names
        }
        return self._ask(Asked(EvaluateTask, number, state, tasks))

    def take(self, site: str, data: bytes) -> None:
        """Takes up the answer of one site.

        Args:
          site: Name of the site that sent it, as the transport knows it.
          data: The answer, as it was received.

        Raises:
          ProtocolError: If it is refused; the server is then as it was before.
        """
        asked = self._asked
        if asked is None:
            wire.refuse(site, "a message", "nothing is asked for")
        expected = wire.Expected(self.answers[asked.kind], site, asked.number)
        message = self._decode(site, data, expected)
        name = f"{message.kind} of round {message.round}"
        if site not in asked.tasks:
            wire.refuse(site, name, "it was not asked for")
        if site in asked.answers:
            wire.refuse(site, name, "it has already come")
        self._check_answer(asked, message)
        asked.answers[site] = message
        if issubclass(asked.kind, ModelTask):
            self._held[site] = self._log.round

    def scores(self) -> ScoredClients:
        """Concludes the score stage.

        Raises:
          RoundError: If too few sites have scores.
        """
        asked, answers = self._conclude(ScoreTask)
        count, shape = len(self.names), (len(self.names), self._layout.num_layers)
        importance = Importance.empty(shape, eigenvalues=self._layout.has_eigenvalues)
        reasons: list[str | None] = [None] * count
        kept_K = np.zeros(count, bool)
        for name in asked.tasks:
            index, answer = self.names.index(name), answers.get(name)
            if isinstance(answer, Scores):
                importance = put_clients(importance, np.array(index), answer.importance)
                kept_K[index] = answer.kept
            else:
                reasons[index] = answer.reason if isinstance(answer, Failure) else DROPPED_OUT
        return self._take_scores(asked.number, ScoreAnswers(importance, reasons, kept_K))

    def updates(self) -> ReceivedUpdates:
        """Concludes the train stage.

        All updates of a round are held until here and added up in the sites' order, so that the
        order in which they came does not change a bit.

        Raises:
          RoundError: If too few updates are usable.
        """
        asked, answers = self._conclude(TrainTask)
        plan, state = cast(TrainingPlan, asked.plan), asked.state
        came_K = np.array([name in answers for name in self.names])
        indices = np.flatnonzero(came_K)
        lost_K = np.isin(np.arange(len(came_K)), plan.who) & ~came_K
        plan = dataclasses.replace(plan, dropped_K=plan.dropped_K | lost_K)
        training = self._training
        most = int(training.facts.planned_K.max())
        trained_K = training.facts.trained(plan.number, indices, plan.layers_KR, state.head)
        updates, failures = [], {}
        for index in indices:
            answer = answers[self.names[index]]
            updates.append(answers_lib.as_update(answer, state, plan, most))
            if isinstance(answer, Failure):
                failures[int(index)] = answer.reason
        received_K: Any = None
        total = self.side.start(state.rows_L, state.head)
        if updates:
            trained = [take_clients(trained_K, at) for at in range(len(indices))]
            weights_K = weights.take(cast(Any, plan.weights_K), indices)
            given = (state.rows_L, state.head, trained, weights_K, updates)
            total, received_K = self.side.receive_all(*given)
        return training.conclude(plan, indices, total, received_K, state.head, failures)

    def metrics(self, training: TrainingOutcome | None) -> list[ClientMetrics]:
        """Concludes the evaluate stage.

        Args:
          training: Outcome of the training that led to the model; None if there was none.

        Returns:
          K metrics, empty ones for a site that has not answered.

        Raises:
          RoundError: If nothing could be measured, or a loss is not finite.
        """
        asked, answers = self._conclude(EvaluateTask)
        found = {name: ClientMetrics({}, []) for name in self.names}
        for name, answer in answers.items():
            found[name] = cast(Metrics, answer).metrics
        check_metrics(asked.number, found, training)
        return list(found.values())

    @property
    def _training(self) -> TrainingServer:
        config, clients = self._config, self.clients
        facts = describe_clients(clients, config.training, config.seed)
        participation, least = self._budgets.participation, config.federated.min_clients
        return TrainingServer(self.side, facts, participation, least, self._budgets.slots)

    def _present(self, number: int) -> np.ndarray:
        return self._budgets.participation.present(number)

    def _changes(self, state: ServerState, site: str) -> tuple[int, Any]:
        """Returns (round of the model that a site holds, what has changed since)."""
        self._log.follow(state)
        return self._held[site], self._log.since(self._held[site])

    def _ask(self, asked: Asked) -> dict[str, bytes]:
        self._asked = asked
        return {name: wire.encode(task) for name, task in asked.tasks.items()}

    def _conclude(self, kind: type[Message]) -> tuple[Asked, dict[str, Message]]:
        asked = self._asked
        if asked is None or asked.kind is not kind:
            raise ProtocolError(f"there is no {kind.kind} to conclude")
        self._asked = None
        return asked, asked.answers

    def _decode(self, site: str, data: bytes, expected: wire.Expected) -> Any:
        if site not in self.names:
            wire.refuse(site, "a message", "it is no site of this federation")
        return wire.decode(data, self._layout, expected)

    def _check_answer(self, asked: Asked, answer: Message) -> None:
        """Refuses an answer that is not that of its task."""
        site = answer.site
        answers_lib.check(asked.tasks[site], answer, self._ready[site], self._entry(site, asked))

    def _entry(self, site: str, asked: Asked) -> str | None:
        """Returns the entry of the head that a site sends in the open round; None for none."""
        entry = head_lib.OF_TASK[self._ready[site].task]
        sends_head = self._config.training.sends_head(asked.number) and entry in self._layout.heads
        return entry if sends_head else None
