"""Participation of clients in a round: a function of (seed, round, client) alone.

Absence, sampling, dropping out and straggling are simulated from the config, so that a resumed run
has the same clients again.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data import order
from f3ocus_jax.errors import RoundError
from f3ocus_jax.federation.settings import FederatedConfig

ABSENT, NOT_SAMPLED, DROPPED_OUT = "absent", "not sampled", "dropped out"
"""Reasons why a client is left out of a round, apart from numerical failures."""


@dataclasses.dataclass(frozen=True)
class Participation:
    """Participation of a run's clients in every round.

    Attributes:
      clients: Names of the K clients.
      settings: The settings `config.federated`.
      seed: Seed of the run.
    """

    clients: tuple[str, ...]
    settings: FederatedConfig
    seed: int

    @property
    def everyone(self) -> bool:
        """True if every client takes part in every round."""
        return not self.settings.absent and self._wanted(len(self.clients)) == len(self.clients)

    @property
    def most(self) -> int:
        """Largest number of clients that can take part in one round."""
        return self._wanted(len(self.clients))

    def present(self, number: int) -> np.ndarray:
        """Returns present_K, True for clients that take part in a round; some may drop out."""
        return np.array([reason is None for reason in self.reasons(number)])

    def reasons(self, number: int) -> list[str | None]:
        """Returns the reason why each client is left out of a round; None if it takes part."""
        absent: Mapping[str, tuple[int, ...]] = self.settings.absent
        here = [
            index for index, name in enumerate(self.clients) if number not in absent.get(name, ())
        ]
        wanted = self._wanted(len(here))
        draw = order.make_generator(self.seed, number, "", "participation")
        sampled = set(here if wanted == len(here) else draw.permutation(here)[:wanted].tolist())
        return [
            None if index in sampled else NOT_SAMPLED if index in here else ABSENT
            for index in range(len(self.clients))
        ]

    def dropped(self, number: int) -> np.ndarray:
        """Returns dropped_K, True for clients whose update of a round never arrives."""
        return self._drawn(number, "dropout", self.settings.dropout)

    def straggles(self, number: int) -> np.ndarray:
        """Returns slow_K, True for clients that take a part of their steps (`straggler_steps`)."""
        return self._drawn(number, "straggler", self.settings.stragglers)

    def steps(self, number: int, planned_K: np.ndarray) -> np.ndarray:
        """Returns steps_K, int32 >= 1: the steps of a round that each client takes."""
        fewer_K = np.maximum(1, np.floor(self.settings.straggler_steps * planned_K))
        return np.where(self.straggles(number), fewer_K, planned_K).astype(np.int32)

    def _wanted(self, available: int) -> int:
        """Returns the number of clients that are drawn from the available ones."""
        if self.settings.participants:
            return min(self.settings.participants, available)
        count = int(np.rint(self.settings.participation * available))
        return min(max(count, 1), available)

    def _drawn(self, number: int, purpose: str, rate: float) -> np.ndarray:
        draws = [order.make_generator(self.seed, number, name, purpose) for name in self.clients]
        return np.array([draw.random() < rate for draw in draws])


def check_enough(
    number: int,
    names: Sequence[str],
    present: int,
    left_out: Sequence[str | None],
    min_clients: int,
) -> None:
    """Raises an error if too few clients are left in a round.

    Args:
      number: Round number.
      names: Names of the K clients.
      present: Number of clients that took part in the stage.
      left_out: Reason why each client's result cannot be used; None for all others.
      min_clients: Smallest number of clients in a round.

    Raises:
      RoundError: if fewer are left; names the round and the failed clients.
    """
    failed = [
        f"client {name}, {reason}" for name, reason in zip(names, left_out, strict=True) if reason
    ]
    left = present - len(failed)
    if left < min_clients:
        raise RoundError(
            f"round {number}, {'; '.join(failed)}: {left} clients are left, but "
            f"config.federated.min_clients = {min_clients}; the checkpoints of earlier rounds "
            f"stay{_remedy(left_out)}"
        )


def _remedy(left_out: Sequence[str | None]) -> str:
    """Returns the end of a message; no learning rate mends an outlier or a lost client."""
    reasons = " ".join(reason for reason in left_out if reason)
    if not re.search(r"\b(nan|inf|finite)\b", reasons):
        return ""
    return (
        "; if losses are not finite, start again with a lower config.training.learning_rate in a "
        "new workdir"
    )
