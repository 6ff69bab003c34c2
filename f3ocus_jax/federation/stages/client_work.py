"""Input and outcome of local training, gathered for the clients of a run."""

import dataclasses

import jax
import numpy as np
from flax import struct

from f3ocus_jax.aggregation import weights
from f3ocus_jax.aggregation.layerwise import LayerWeights, TrainedLayers
from f3ocus_jax.clients import Choice, LocalTask, batches
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data.examples import ClientData, stack_batches
from f3ocus_jax.federation.participation import DROPPED_OUT
from f3ocus_jax.federation.server_side import ReceivedUpdate
from f3ocus_jax.federation.stages.client_axis import repeat_for_clients, take_clients
from f3ocus_jax.models import head as head_lib
from f3ocus_jax.privacy import batches as private_batches
from f3ocus_jax.privacy.batches import PrivateBatches
from f3ocus_jax.privacy.settings import EXAMPLE, NOT_PRIVATE, PrivacyConfig
from f3ocus_jax.types import ClientMemory, Controls, Params, TrainingOutcome, UpdateNorms


@struct.dataclass
class ClientWork:
    """Input of one client's training, and facts that the server knows about it.

    Attributes:
      memory: Memory of the client.
      task: Task of its local training.
      trained: Parameters that it trains.
      weight: Weight of the client in each layer's mean; None at a site, which does not know it.
    """

    memory: ClientMemory
    task: LocalTask
    trained: TrainedLayers
    weight: LayerWeights | None


@dataclasses.dataclass(frozen=True)
class TrainingClients:
    """Clients of a run, and facts about their training that are the same in all rounds.

    Attributes:
      data: Data of the K clients.
      settings: Settings of local training.
      seed: Seed of the run.
      planned_K: int32, number of local steps in a round.
      heads_K: Name of the entry of the head that each client trains.
      weights_K: float32, number of training examples.
      private: Batches and noise of training with differential privacy of examples; None without.
    """

    data: list[ClientData]
    settings: TrainingConfig
    seed: int
    planned_K: np.ndarray
    heads_K: np.ndarray
    weights_K: np.ndarray
    private: PrivateBatches | None = None

    def work(
        self,
        number: int,
        who: np.ndarray,
        layers_KR: np.ndarray,
        steps_K: np.ndarray,
        weights_K: LayerWeights | None,
        memory: ClientMemory,
        heads: Params,
        controls: Controls | None = None,
    ) -> ClientWork:
        """Gathers the input of some clients, in the same shapes for all of them."""
        private, steps = self.private, int(self.planned_K.max())
        some = [self.data[index] for index in who]
        if private is None:
            given = {"seed": self.seed, "number": number, "batch_size": self.settings.batch_size}
            drawn = [batches.draw_training_batches(one, steps=steps, **given) for one in some]
        else:
            drawn = private.draw(some, number, steps)
        return ClientWork(
            memory=take_clients(memory.of_training, who),
            task=LocalTask(
                Choice(layers_KR[who]),
                stack_batches(drawn),
                steps_K[who],
                noise=None if private is None else private.noise(some, number),
                controls=None if controls is None else _controls_of(controls, layers_KR[who]),
                trains_head=self.settings.trains_head(number),
            ),
            trained=self.trained(number, who, layers_KR, heads),
            weight=None if weights_K is None else weights.take(weights_K, who),
        )

    def trained(
        self, number: int, who: np.ndarray, layers_KR: np.ndarray, heads: Params
    ) -> TrainedLayers:
        """Returns what some clients send of a round, with a leading axis of these clients."""
        has_head = self.settings.sends_head(number)
        own = {name: (self.heads_K[who] == name) & has_head for name in heads}
        return TrainedLayers(layers_KR[who], own)

    def outcome(
        self,
        indices: np.ndarray,
        dropped_K: np.ndarray,
        steps_K: np.ndarray,
        received: ReceivedUpdate | None,
        norms: UpdateNorms | None,
    ) -> TrainingOutcome:
        """Returns the outcome of all clients; `indices` are those that trained."""
        losses_KS = np.zeros((len(self.data), int(self.planned_K.max())), np.float32)
        left_out = [DROPPED_OUT if dropped else None for dropped in dropped_K]
        trained_K = np.zeros(len(self.data), bool)
        if received is not None and norms is not None:
            norms = norms.of_all(indices, len(self.data))
            losses_KS[indices], trained_K[indices] = received.losses_S, True
            for index in indices[~np.asarray(received.finite)]:
                left_out[index] = describe_failure(losses_KS[index])
            for index in np.flatnonzero(norms.outlying_K & ~norms.accepted_K):
                left_out[index] = describe_ratio(norms, int(index))
        steps_K = steps_K * trained_K
        straggled_K = trained_K & (steps_K < self.planned_K)
        return TrainingOutcome(left_out, losses_KS, steps_K, straggled_K, norms)


def _controls_of(controls: Controls, layers_KR: np.ndarray) -> Controls:
    """Returns the server's controls of each client's layers, with a leading axis of the clients."""
    controls = jax.device_get(controls)
    rows_KR = jax.tree.map(
        lambda leaf: np.take(leaf, layers_KR, axis=0, mode="clip"), controls.rows
    )
    return Controls(rows_KR, repeat_for_clients(controls.head, len(layers_KR)))


def describe_clients(
    clients: list[ClientData],
    settings: TrainingConfig,
    seed: int,
    privacy: PrivacyConfig = NOT_PRIVATE,
) -> TrainingClients:
    """Describes the clients of a run.

    Args:
      clients: Data of the K clients.
      settings: Settings of local training.
      seed: Seed of the run.
      privacy: Settings of differential privacy; with that of examples, the clients take a secret.
    """
    private = None
    if privacy.unit == EXAMPLE:
        private = private_batches.make_private_batches(clients, settings, seed, privacy)
    return TrainingClients(
        clients,
        settings,
        seed,
        np.array([batches.count_local_steps(client, settings) for client in clients], np.int32),
        np.array([head_lib.OF_TASK[client.task] for client in clients]),
        np.array([len(client.train) for client in clients], np.float32),
        private,
    )


def describe_ratio(norms: UpdateNorms, index: int) -> str:
    """Returns the norm of a client's update in words."""
    ratio = norms.ratios_K[index]
    return f"the norm of its update is {ratio:.3g} times the median of the round"


def describe_failure(losses_S: np.ndarray) -> str:
    """Says where a client's training went wrong."""
    bad = np.flatnonzero(~np.isfinite(losses_S))
    if len(bad):
        return f"step {bad[0] + 1}: the training loss is {losses_S[bad[0]]}"
    return "its layers are not finite after the last step"
