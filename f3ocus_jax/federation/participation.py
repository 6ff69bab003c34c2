"""Who takes part in a round, and who fails in it? A function of (seed, round, client) alone.

Absence, sampling, dropping out and straggling are simulated here from the config, so that a resumed
run meets the same clients again.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from f3ocus_jax.data import order
from f3ocus_jax.federation.settings import FederatedConfig

ABSENT, NOT_SAMPLED, DROPPED_OUT = "absent", "not sampled", "dropped out"
"""Reasons for which a client is left out of a round, beside its own numerical failures."""


@dataclasses.dataclass(frozen=True)
class Participation:
    """The comings and goings of a run's clients.

    Attributes:
      clients: their names, K of them.
      settings: `config.federated`.
      seed: of the run.
    """

    clients: tuple[str, ...]
    settings: FederatedConfig
    seed: int

    @property
    def everyone(self) -> bool:
        """Whether every client takes part in every round."""
        return not self.settings.absent and self._wanted(len(self.clients)) == len(self.clients)

    @property
    def most(self) -> int:
        """The most clients that can take part in one round."""
        return self._wanted(len(self.clients))

    def present(self, number: int) -> np.ndarray:
        """Returns who takes part in a round: bool [K]; some may still drop out."""
        return np.array([reason is None for reason in self.reasons(number)])

    def reasons(self, number: int) -> list[str | None]:
        """Returns why each client is left out of a round; None if it takes part."""
        absent: Mapping[str, tuple[int, ...]] = self.settings.absent
        here = [
            place for place, name in enumerate(self.clients) if number not in absent.get(name, ())
        ]
        wanted = self._wanted(len(here))
        draw = order.generator(self.seed, number, "", "participation")
        sampled = set(here if wanted == len(here) else draw.permutation(here)[:wanted].tolist())
        return [
            None if place in sampled else NOT_SAMPLED if place in here else ABSENT
            for place in range(len(self.clients))
        ]

    def dropped(self, number: int) -> np.ndarray:
        """Returns whose update of a round never arrives: bool [K]."""
        return self._drawn(number, "dropout", self.settings.dropout)

    def straggles(self, number: int) -> np.ndarray:
        """Returns who manages only `config.federated.straggler_steps` of its steps: bool [K]."""
        return self._drawn(number, "straggler", self.settings.stragglers)

    def steps(self, number: int, planned_K: np.ndarray) -> np.ndarray:
        """Returns how many of its planned steps each client takes in a round: int32 [K], >= 1."""
        fewer_K = np.maximum(1, np.floor(self.settings.straggler_steps * planned_K))
        return np.where(self.straggles(number), fewer_K, planned_K).astype(np.int32)

    def _wanted(self, available: int) -> int:
        """Returns how many of the clients that are there are drawn."""
        if self.settings.participants:
            return min(self.settings.participants, available)
        share = int(np.rint(self.settings.participation * available))
        return min(max(share, 1), available)

    def _drawn(self, number: int, purpose: str, rate: float) -> np.ndarray:
        draws = [order.generator(self.seed, number, name, purpose) for name in self.clients]
        return np.array([draw.random() < rate for draw in draws])
