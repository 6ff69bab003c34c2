"""Batches and noise of clients that train with differential privacy of examples."""

import dataclasses

import numpy as np

from f3ocus_jax.clients.local import LocalNoise
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.privacy import sampling, secret
from f3ocus_jax.privacy.secret import Secret
from f3ocus_jax.privacy.settings import PrivacyConfig
from f3ocus_jax.types import Batch


@dataclasses.dataclass(frozen=True)
class PrivateBatches:
    """Poisson samples and noise of the clients that are here.

    Attributes:
      secret: Secret of this site, or of this simulation.
      seed: Seed of the run.
      batch_size: Expected number of examples in a batch.
      parts: Parts that a batch is run in.
      width: Number of slots that nearly all batches fit into, a multiple of `parts`.
    """

    secret: Secret
    seed: int
    batch_size: int
    parts: int
    width: int

    def draw(self, clients: list[ClientData], number: int, steps: int) -> list[Batch]:
        """Draws the batches of some clients.

        Args:
          clients: The clients.
          number: Round number.
          steps: S, number of batches.

        Returns:
          Batches with leading axis S, of one width for all of them.
        """
        members = [self._members(client, number, steps) for client in clients]
        largest = max(len(some) for each in members for some in each)
        width = max(self.width, round_up(largest, self.parts))
        return [
            client.train.batch(*sampling.pad_members(each, width))
            for client, each in zip(clients, members, strict=True)
        ]

    def noise(self, clients: list[ClientData], number: int) -> LocalNoise:
        """Returns the noise of some clients in a round, with a leading axis of these clients."""
        keys = [
            self.secret.key_data("gradients", self.seed, number, client.name) for client in clients
        ]
        sizes = [min(self.batch_size, len(client.train)) for client in clients]
        return LocalNoise(np.stack(keys), np.array(sizes, np.float32))

    def _members(self, client: ClientData, number: int, steps: int) -> list[np.ndarray]:
        draw = self.secret.generator("batches", self.seed, number, client.name)
        return sampling.draw_members(draw, len(client.train), steps, self.batch_size)


def make_private_batches(
    clients: list[ClientData], settings: TrainingConfig, seed: int, privacy: PrivacyConfig
) -> PrivateBatches:
    """Makes the batches and the noise of some clients, which take a secret for both.

    Args:
      clients: The clients.
      settings: Settings of local training.
      seed: Seed of the run.
      privacy: Settings of differential privacy.
    """
    own, size, parts = secret.take(privacy.secret_seed), settings.batch_size, settings.accumulate
    widest = max(sampling.planned_width(len(client.train), size) for client in clients)
    return PrivateBatches(own, seed, size, parts, round_up(widest, parts))


def round_up(count: int, divisor: int) -> int:
    """Returns the smallest multiple of a number that is at least `count`, and above 0."""
    return max(1, -(-count // divisor)) * divisor
