"""The site's half of the protocol: it answers the server's tasks with its own data.

Examples, eigenvectors, personal adapters and heads, and the state of its optimizer stay in it.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import jax
import numpy as np

from f3ocus_jax.aggregation.layerwise import is_finite
from f3ocus_jax.clients import placement
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.deployment import facts as facts_lib, wire
from f3ocus_jax.deployment.fields import RefusedError
from f3ocus_jax.deployment.joining_messages import Ready
from f3ocus_jax.deployment.layout import make_layout
from f3ocus_jax.deployment.messages import (
    NOTHING,
    EvaluateTask,
    Failure,
    Message,
    Metrics,
    ModelTask,
    Parameters,
    Scores,
    ScoreTask,
    TrainTask,
    Update,
)
from f3ocus_jax.evaluation.written_answers import make_answer_decoder
from f3ocus_jax.federation import assembly
from f3ocus_jax.federation.privacy_plan import make_account
from f3ocus_jax.federation.private_runs import has_private_scores
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.federation.stages.client_axis import take_clients
from f3ocus_jax.federation.stages.client_work import describe_clients, describe_failure
from f3ocus_jax.federation.stages.evaluate import make_measure
from f3ocus_jax.federation.stages.score import make_score_clients
from f3ocus_jax.federation.stages.train import (
    KEEP_UPDATES,
    TrainingPlan,
    make_train_clients,
)
from f3ocus_jax.models.foundation import Foundation

ALONE = np.array([0])
"""Indices of the clients of a site, which is one client."""


class Site:
    """One site: its data, its memory, and its copy of the server's model.

    Attributes:
      name: Name of the site, as the server and the records have it.
      memory: State that it keeps from round to round, with a leading axis of one client.
      account: Account of what it has released, for `account.spent`; None without differential
        privacy of examples. A site that was started again needs that of before.
      tasks: Tasks that it takes.
    """

    tasks: ClassVar[tuple[type[Message], ...]] = (ScoreTask, TrainTask, EvaluateTask)

    def __init__(
        self, config: ExperimentConfig, foundation: Foundation, client: ClientData
    ) -> None:
        """Builds a site that holds nothing of the server's model yet.

        Args:
          config: Settings of the run.
          foundation: The model and the weights that the run starts from.
          client: Data of the site.
        """
        self.name = client.name
        self._config, self._client = config, client
        frozen, start, self.memory = assembly.make_start(config, foundation, 1)
        self._rows_L, self._head = jax.device_get((start.rows_L, start.head))
        self._layout = make_layout(config, self._rows_L, self._head)
        self._facts_of_run = facts_lib.of_run(config, foundation)
        self._holds = self._scored = self._trained = self._evaluated = NOTHING
        self._facts = describe_clients([client], config.training, config.seed, config.privacy)
        self.account = make_account(config, client)
        self._make_functions(foundation, frozen)

    def _make_functions(self, foundation: Foundation, frozen: Any) -> None:
        config, federated = self._config, self._config.federated
        side = assembly.client_side_of(config, foundation.model)
        frozen = placement.replicate(frozen, federated.placement)
        shared: dict[str, Any] = {"most": 1, "federated": federated}
        decoding = make_answer_decoder(foundation, config.evaluation, config.data.answer_length)
        clients = [self._client]
        predict = assembly.make_predict(config, foundation.model, clients, decoding)
        self._score = make_score_clients(
            side,
            frozen,
            clients,
            importance=config.importance,
            seed=config.seed,
            privacy=config.privacy,
            **shared,
        )
        self._train = make_train_clients(side, frozen, self._facts, KEEP_UPDATES, **shared)
        options = assembly.evaluation_options(config)
        self._measure = make_measure(predict, frozen, clients, **options)

    def ready(self) -> Ready:
        """Returns what the server must know of the site before it asks for anything."""
        client = self._client
        test, validation = (
            None if split is None else len(split) for split in (client.test, client.validation)
        )
        facts = (client.task, len(client.train), test, validation)
        return Ready(0, self.name, *facts, self._facts_of_run)

    def answer(self, data: bytes) -> bytes:
        """Does a task of the server.

        Args:
          data: The task, as it was received.

        Returns:
          The answer.

        Raises:
          ProtocolError: If the task is refused; the site is then as it was before.
        """
        return wire.encode(self.do(self.read(data)))

    def read(self, data: bytes) -> Message:
        """Returns the task that bytes hold, after all checks.

        Raises:
          ProtocolError: If it is refused.
        """
        return wire.decode(data, self._layout, wire.Expected(self.tasks, self.name))

    def do(self, task: Message) -> Message:
        """Does a task, see `answer`."""
        try:
            return self.functions[type(task)](task)
        except RefusedError as problem:
            self._refuse(task, str(problem))

    @property
    def functions(self) -> dict[type[Message], Callable[[Any], Message]]:
        """The functions that answer each task."""
        return {ScoreTask: self.score, TrainTask: self.train, EvaluateTask: self.evaluate}

    def go_back_to(self, number: int) -> None:
        """Takes tasks after a round again, of a server that was started again.

        Args:
          number: The round; the next task brings the whole model.
        """
        self._scored, self._trained, self._evaluated = number, number, number - 1
        self._holds = NOTHING

    def score(self, task: ScoreTask) -> Scores | Failure:
        """Scores the layers of the model before a round."""
        self._check_new(task, self._scored)
        noised = has_private_scores(self._config.privacy, self._config.importance)
        self._check_budget(task, scores=int(noised))
        self._take_model(task)
        given = (self._rows_L, self._head, self.memory, task.round)
        answers, self.memory = self._score(*given, task.key_data[None], ALONE)
        self._scored = task.round
        self._spend(scores=int(noised and not answers.kept_K[0]))
        if answers.reasons[0] is not None:
            return Failure(task.round, self.name, task.kind, answers.reasons[0])
        importance = take_clients(answers.importance, 0)
        return Scores(task.round, self.name, importance, bool(answers.kept_K[0]))

    def train(self, task: TrainTask) -> Update | Failure:
        """Trains the layers that the server has chosen."""
        self._check_new(task, self._trained)
        if task.round != self._scored and task.since != NOTHING:
            self._refuse(task, f"the last round in which it scored its layers is {self._scored}")
        planned = int(self._facts.planned_K[0])
        if not 1 <= task.steps <= planned:
            self._refuse(task, f"steps = {task.steps}, must be 1 to {planned}")
        self._check_budget(task, steps=task.steps)
        layers_KR = np.full((1, task.slots), self._layout.num_layers, np.int32)
        layers_KR[0, : len(task.chosen_R)] = task.chosen_R
        self._take_model(task)
        nobody_K, steps_K = np.zeros(1, bool), np.array([task.steps], np.int32)
        plan = TrainingPlan(task.round, 1, ALONE, nobody_K, layers_KR, steps_K, None)
        given = (self._rows_L, self._head, self.memory)
        _, _, held, self.memory = self._train(*given, plan)
        self._trained = task.round
        self._spend(steps=task.steps)
        return self._as_message(task, take_clients(held["update"], 0))

    def evaluate(self, task: EvaluateTask) -> Metrics:
        """Measures the model after a round, or before the first one."""
        self._check_new(task, self._evaluated)
        self._take_model(task)
        measured = self._measure(self._rows_L, self._head, self.memory.head)
        self._evaluated = task.round
        return Metrics(task.round, self.name, measured[self.name])

    def _as_message(self, task: TrainTask, update: Any) -> Update | Failure:
        """Returns what the server is told of a training."""
        layers_R = task.chosen_R
        rows_R = jax.tree.map(lambda leaf: leaf[: len(layers_R)], update["rows_R"])
        losses_S = update["losses_S"][: task.steps]
        entry = str(self._facts.heads_K[0])
        sends_head = self._config.training.sends_head(task.round) and entry in update["head"]
        head = {entry: update["head"][entry]} if sends_head else {}
        if not (update["finite"] and is_finite((rows_R, head, losses_S))):
            return Failure(task.round, self.name, task.kind, describe_failure(losses_S))
        parameters = Parameters(layers_R, rows_R, head)
        return Update(task.round, self.name, parameters, losses_S, len(self._client.train))

    def _take_model(self, task: ModelTask) -> None:
        """Brings the copy of the server's model up to date."""
        if task.since > self._holds:
            held = "none yet" if self._holds == NOTHING else f"that of round {self._holds}"
            self._refuse(task, f"it builds on the model of round {task.since}, here is {held}")
        if task.model_round < self._holds:
            self._refuse(task, f"the model here is already that of round {self._holds}")
        sent = task.parameters

        def put(leaf_L: np.ndarray, rows_R: np.ndarray) -> np.ndarray:
            changed = np.array(leaf_L)
            changed[sent.layers_R] = rows_R
            return changed

        self._rows_L = jax.tree.map(put, self._rows_L, sent.rows_R)
        self._head = {**self._head, **sent.head}
        self._holds = task.model_round

    def _check_budget(self, task: Message, **releases: int) -> None:
        if self.account is not None and not self.account.allows(**releases):
            budget = self._config.privacy.epsilon
            self._refuse(task, f"its answer would exceed config.privacy.epsilon = {budget}")

    def _spend(self, **releases: int) -> None:
        if self.account is not None:
            self.account = self.account.add(**releases)

    def _check_new(self, task: Message, done: int) -> None:
        if task.round <= done:
            self._refuse(task, f"round {done} is already done")

    def _refuse(self, task: Message, problem: str) -> NoReturn:
        wire.refuse(self.name, f"{task.kind} of round {task.round}", problem)
