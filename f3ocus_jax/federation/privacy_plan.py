"""Epsilon of every client after every round: a function of the settings, known before the run."""

import dataclasses
import functools

import numpy as np

from f3ocus_jax.clients.batches import count_local_steps
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.budgets import Budgets
from f3ocus_jax.federation.participation import Participation
from f3ocus_jax.federation.private_runs import has_private_scores
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.privacy import accountant
from f3ocus_jax.privacy.account import Account
from f3ocus_jax.privacy.accountant import Mechanism, Releases
from f3ocus_jax.privacy.settings import EXAMPLE, NONE, PrivacyConfig
from f3ocus_jax.types import RoundRecord


@dataclasses.dataclass(frozen=True)
class PrivacyPlan:
    """What is released of every client's data in every round.

    A round counts for each client that is meant to take part in it, whether its update came or not.
    Who takes part follows from the settings, so that it is taken as known to everybody.

    Attributes:
      settings: The settings `config.privacy`.
      participation: Participation of the clients in every round.
      examples_K: Number of training examples of each client.
      planned_K: int32, number of local steps of each client in a round.
      batch_size: Expected number of examples in a batch.
      scores_every: Rounds from one noised score of a client to its next; 0 for none.
    """

    settings: PrivacyConfig
    participation: Participation
    examples_K: list[int]
    planned_K: np.ndarray
    batch_size: int
    scores_every: int

    def epsilons(self, number: int) -> list[float]:
        """Returns the epsilon of each client after a round, at `settings.delta`."""
        return [
            accountant.epsilon(self.releases(index, number), self.settings.delta)
            for index in range(len(self.participation.clients))
        ]

    def releases(self, index: int, number: int) -> Releases:
        """Returns what was released of one client's data up to a round."""
        rounds = [each for each in range(1, number + 1) if self._round(each)[0][index]]
        if self.settings.unit != EXAMPLE:
            return {Mechanism(self.settings.noise_multiplier): len(rounds)}
        steps = [self._round(each)[1][index] for each in rounds]
        account = Account(self.settings, self.examples_K[index], self.batch_size)
        scores = count_due(rounds, self.scores_every)
        return account.add(scores=scores, steps=int(sum(steps))).releases

    @functools.cached_property
    def _rounds(self) -> list[tuple[np.ndarray, np.ndarray]]:
        return []

    @functools.cached_property
    def _ends(self) -> dict[int, int]:
        return {}

    def _round(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns (present_K, steps_K) of a round; drawing them anew would take long."""
        for each in range(len(self._rounds) + 1, number + 1):
            steps_K = self.participation.steps(each, self.planned_K)
            self._rounds.append((self.participation.present(each), steps_K))
        return self._rounds[number - 1]

    def last_round(self, rounds: int) -> int:
        """Returns the last of so many rounds that the budget allows.

        Raises:
          ConfigError: If it allows none.
        """
        if rounds not in self._ends:
            self._ends[rounds] = self._find_last(rounds)
        return self._ends[rounds]

    def _find_last(self, rounds: int) -> int:
        budget = self.settings.epsilon
        if not budget or not rounds or max(self.epsilons(rounds)) <= budget:
            return rounds
        allowed, beyond = 0, rounds
        while beyond - allowed > 1:
            middle = (allowed + beyond) // 2
            if max(self.epsilons(middle)) <= budget:
                allowed = middle
            else:
                beyond = middle
        if not allowed:
            raise ConfigError(
                f"config.privacy.epsilon = {budget}, must be at least "
                f"{max(self.epsilons(1)):.3g}, that of one round at delta = {self.settings.delta}"
            )
        return allowed

    def describe_end(self, last: int, rounds: int) -> str | None:
        """Returns the line that says why a run ends before its last round; None if it does not."""
        if last >= rounds:
            return None
        after = max(self.epsilons(last + 1))
        return (
            f"ended after round {last} of {rounds}: with the next round epsilon would be "
            f"{after:.4g} at delta = {self.settings.delta}, more than "
            f"config.privacy.epsilon = {self.settings.epsilon}"
        )

    def add_to(self, record: RoundRecord) -> RoundRecord:
        """Returns the record of a round with epsilon and delta, of the run and of each client.

        Losses of training examples, which epsilon does not cover, are left out.
        """
        epsilons, hidden = self.epsilons(record.round), self.settings.unit == EXAMPLE
        clients = [
            dataclasses.replace(
                client, epsilon=value, train_loss=None if hidden else client.train_loss
            )
            for client, value in zip(record.clients, epsilons, strict=True)
        ]
        return dataclasses.replace(
            record, clients=clients, epsilon=max(epsilons), delta=self.settings.delta
        )


def make_privacy_plan(
    config: ExperimentConfig, clients: list[ClientData], budgets: Budgets
) -> PrivacyPlan | None:
    """Makes the plan of a run; None for one without differential privacy.

    Args:
      config: Settings of the run.
      clients: Data of the K clients.
      budgets: Limits of every client, and its participation.

    Raises:
      ConfigError: If the package that computes epsilon is not installed, or the budget allows no
        round.
    """
    privacy, training = config.privacy, config.training
    if privacy.unit == NONE:
        return None
    accountant.check_installed()
    scores = has_private_scores(privacy, config.importance)
    plan = PrivacyPlan(
        settings=privacy,
        participation=budgets.participation,
        examples_K=[len(client.train) for client in clients],
        planned_K=np.array([count_local_steps(client, training) for client in clients], np.int32),
        batch_size=training.batch_size,
        scores_every=config.importance.every if scores else 0,
    )
    plan.last_round(config.federated.rounds)
    return plan


def make_account(config: ExperimentConfig, client: ClientData) -> Account | None:
    """Makes the account of a site that has released nothing; None without privacy of examples.

    Args:
      config: Settings of the run.
      client: Data of the site.
    """
    if config.privacy.unit != EXAMPLE:
        return None
    accountant.check_installed()
    return Account(config.privacy, len(client.train), config.training.batch_size)


def count_due(rounds: list[int], every: int) -> int:
    """Counts the rounds in which a client scores its layers, see `last_scores.due_clients`.

    Args:
      rounds: Rounds that it takes part in, ascending.
      every: Rounds from one score to its next; 0 for none.
    """
    count, last = 0, 0
    for number in rounds if every else ():
        if not last or number - last >= every:
            count, last = count + 1, number
    return count
