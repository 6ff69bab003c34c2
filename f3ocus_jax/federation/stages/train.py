"""Train stage: clients train their chosen layers, and the server receives their updates."""

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from flax.serialization import from_state_dict

from f3ocus_jax import hosts
from f3ocus_jax.aggregation.layerwise import Change, LayerWeights, TrainedLayers
from f3ocus_jax.clients import placement
from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.config.kept import kept
from f3ocus_jax.data.examples import ClientData, local_mask
from f3ocus_jax.federation.client_side import ClientSide, ClientUpdate, Shared
from f3ocus_jax.federation.participation import Participation, check_enough
from f3ocus_jax.federation.server_side import Receive, ReceivedUpdate, ServerSide, Start
from f3ocus_jax.federation.settings import FederatedConfig
from f3ocus_jax.federation.stages.client_axis import put_clients
from f3ocus_jax.federation.stages.client_work import (
    ClientWork,
    TrainingClients,
    describe_clients,
)
from f3ocus_jax.privacy.settings import NOT_PRIVATE, PrivacyConfig
from f3ocus_jax.types import (
    Array,
    ClientMemory,
    Controls,
    Params,
    Rows,
    ServerState,
    TrainingOutcome,
)


@dataclasses.dataclass(frozen=True)
class ReceivedUpdates:
    """Result of the train stage, for the aggregate stage.

    Attributes:
      total: Sum over clients, see `server_side.Total`.
      received_K: `ReceivedUpdate` with a leading axis of the clients that trained; None of none.
      trained_K: Parameters that these clients trained.
      outcome: Outcome of all clients.
    """

    total: Any
    received_K: ReceivedUpdate | None
    trained_K: TrainedLayers
    outcome: TrainingOutcome


@dataclasses.dataclass(frozen=True)
class TrainingPlan:
    """What a round's local training will be, before any client has trained.

    Attributes:
      number: Round number.
      present: Number of clients that take part in the round.
      who: Indices of the clients that train, ascending.
      dropped_K: bool, True for clients whose update is simulated to be lost.
      layers_KR: Layers of each client, see `layers_of`.
      steps_K: int32, local steps of each client.
      weights_K: Weights of all clients, 0 for those that do not train; None at a site, which does
        not know them.
      controls: The server's controls; None in a run without any.
    """

    number: int
    present: int
    who: np.ndarray
    dropped_K: np.ndarray
    layers_KR: np.ndarray
    steps_K: np.ndarray
    weights_K: LayerWeights | None
    controls: Controls | None = None


@dataclasses.dataclass(frozen=True)
class TrainingServer:
    """The server's part of the stage: it plans the training, and concludes it.

    Attributes:
      server_side: The server's half of a round.
      facts: Facts about the clients' training.
      participation: Participation of the clients in every round.
      min_clients: Smallest number of clients in a round.
      slots: R, largest number of layers of one client.
    """

    server_side: ServerSide
    facts: TrainingClients
    participation: Participation
    min_clients: int
    slots: int

    def plan(
        self, number: int, mask_KL: Array, present_K: np.ndarray, heads: Params
    ) -> TrainingPlan:
        """Plans a round.

        Args:
          number: Round number.
          mask_KL: bool, True where client k trains layer l.
          present_K: bool, clients that take part.
          heads: Entries of the head, by name.
        """
        facts, participation = self.facts, self.participation
        dropped_K = participation.dropped(number) & present_K
        layers_KR = layers_of(mask_KL, self.slots)
        steps_K = participation.steps(number, facts.planned_K)
        examples_K = np.where(present_K & ~dropped_K, facts.weights_K, 0.0)
        trained_K = facts.trained(number, np.arange(len(mask_KL)), layers_KR, heads)
        weights_K = self.server_side.weigh(examples_K, steps_K, trained_K, mask_KL.shape[1])
        who = np.flatnonzero(present_K & ~dropped_K)
        present = int(present_K.sum())
        return TrainingPlan(number, present, who, dropped_K, layers_KR, steps_K, weights_K)

    def conclude(
        self,
        plan: TrainingPlan,
        indices: np.ndarray,
        total: Any,
        received_K: ReceivedUpdate | None,
        heads: Params,
        failures: Mapping[int, str] = MappingProxyType({}),
    ) -> ReceivedUpdates:
        """Concludes a round that was planned.

        Args:
          plan: The plan.
          indices: Clients whose updates were received, ascending.
          total: Sum over these clients, see `server_side.Total`.
          received_K: Their received updates; None of none.
          heads: Entries of the head, by name.
          failures: Client to the reason that it told why its update cannot be used.

        Returns:
          The updates.

        Raises:
          RoundError: If fewer than `min_clients` updates are usable.
        """
        facts, names = self.facts, [client.name for client in self.facts.data]
        norms = None if received_K is None else self.server_side.judge(received_K)
        outcome = facts.outcome(indices, plan.dropped_K, plan.steps_K, received_K, norms)
        for index, reason in failures.items():
            outcome.left_out[index] = reason
        check_enough(plan.number, names, plan.present, outcome.left_out, self.min_clients)
        trained_K = facts.trained(plan.number, indices, plan.layers_KR, heads)
        return ReceivedUpdates(total, received_K, trained_K, outcome)


TrainClients = Callable[
    [Rows, Params, ClientMemory, TrainingPlan], tuple[Any, np.ndarray, Any, ClientMemory]
]
"""(rows_L, head, memory, plan) -> (total over the clients, indices of those that trained, what the
fold keeps of each, as nested dicts with a leading axis, None of no client; memory)."""

TrainStage = Callable[
    [ServerState, ClientMemory, int, Array, np.ndarray], tuple[ReceivedUpdates, ClientMemory]
]
"""(state, memory, round number, mask_KL, present_K) -> (received updates, memory)."""


def make_train_stage(
    client_side: ClientSide,
    server_side: ServerSide,
    frozen: Params,
    clients: list[ClientData],
    participation: Participation,
    *,
    training: TrainingConfig,
    federated: FederatedConfig,
    slots: int,
    seed: int,
    privacy: PrivacyConfig = NOT_PRIVATE,
) -> TrainStage:
    """Makes the stage that trains the clients that take part.

    Args:
      client_side: The client's half of a round.
      server_side: The server's half, which receives each update as soon as it is made.
      frozen: Parameters that no client trains.
      clients: All K clients.
      participation: Participation of the clients in every round.
      training: Settings of local training.
      federated: Settings of the placement, and the smallest number of clients.
      slots: R, largest number of layers of one client.
      seed: Seed of the run.
      privacy: Settings of differential privacy.

    Returns:
      The stage. It raises RoundError if fewer than `federated.min_clients` updates are usable.
    """
    facts = describe_clients(clients, training, seed, privacy)
    server = TrainingServer(server_side, facts, participation, federated.min_clients, slots)
    fold = make_fold(server_side.start, server_side.receive)
    most = participation.most
    run = make_train_clients(client_side, frozen, facts, fold, most=most, federated=federated)

    def train(
        state: ServerState,
        memory: ClientMemory,
        number: int,
        mask_KL: Array,
        present_K: np.ndarray,
    ) -> tuple[ReceivedUpdates, ClientMemory]:
        plan = server.plan(number, mask_KL, present_K, state.head)
        plan = dataclasses.replace(plan, controls=state.controls)
        total, indices, held, memory = run(state.rows_L, state.head, memory, plan)
        received_K = None if held is None else _received(held["received"])
        return server.conclude(plan, indices, total, received_K, state.head), memory

    return train


def make_train_clients(
    client_side: ClientSide,
    frozen: Params,
    facts: TrainingClients,
    fold: placement.Fold,
    *,
    most: int,
    federated: FederatedConfig,
) -> TrainClients:
    """Makes the clients' part of the stage: those of a plan train, each its own layers.

    Args:
      client_side: The client's half of a round.
      frozen: Parameters that no client trains.
      facts: The K clients.
      fold: Fold over (update, memory) of each client; it keeps a dict with the memory.
      most: Largest number of clients in a round.
      federated: Settings of the placement.

    Returns:
      The function.
    """
    local_K = local_mask(facts.data)
    train_clients = placement.stream(
        _make_train_one(client_side),
        fold,
        most=min(most, int(local_K.sum())),
        placement=federated.placement,
        clients_at_once=federated.clients_at_once,
        clients_in_memory=federated.clients_in_memory,
    )

    def run(
        rows_L: Rows, head: Params, memory: ClientMemory, plan: TrainingPlan
    ) -> tuple[Any, np.ndarray, Any, ClientMemory]:
        own = plan.who[local_K[plan.who]]

        def gather(some: np.ndarray) -> ClientWork:
            given = (plan.layers_KR, plan.steps_K, plan.weights_K, memory, head)
            return facts.work(plan.number, own[some], *given, controls=plan.controls)

        total, made = train_clients((frozen, rows_L, head), len(own), gather)
        indices, held = hosts.gather_clients(own, made)
        kept = {} if held is None else held["memory"]
        return total, indices, held, _remember(memory, indices, kept)

    return run


@kept
def _make_train_one(
    client_side: ClientSide,
) -> Callable[[Shared, ClientWork], tuple[ClientUpdate, ClientMemory]]:
    return lambda shared, one: client_side.train(shared, one.memory, one.task)


@kept
def make_fold(start: Start, receive: Receive) -> placement.Fold:
    """Makes the fold by which the server receives one client's update after the other.

    Args:
      start: See `ServerSide.start`.
      receive: See `ServerSide.receive`.

    Returns:
      The fold.
    """

    def start_all(shared: Shared) -> Any:
        _, rows_L, head = shared
        return start(rows_L, head)

    def add(
        total: Any, shared: Shared, one: ClientWork, result: tuple[ClientUpdate, ClientMemory]
    ) -> tuple[Any, dict[str, Any]]:
        (_, rows_L, head), (update, memory) = shared, result
        total, received = receive(total, rows_L, head, one.trained, one.weight, update)
        return total, {"received": received, "memory": memory}

    return placement.Fold(start_all, add)


KEEP_UPDATES = placement.Fold(
    lambda shared: (),
    lambda total, shared, one, result: (total, {"update": result[0], "memory": result[1]}),
)
"""Adds nothing up: keeps the update and the memory of each client."""


def _received(received: Mapping[str, Any]) -> ReceivedUpdate:
    """Returns the received updates that `make_fold` keeps, from nested dicts."""
    change = None if received["change"] is None else Change(**received["change"])
    weight = None if received["weight"] is None else LayerWeights(**received["weight"])
    known = (received["losses_S"], received["finite"], received["norm"])
    changed = received.get("controls")
    controls = None if changed is None else Controls(**changed)
    return ReceivedUpdate(*known, change, weight, controls)


def _remember(memory: ClientMemory, indices: np.ndarray, kept: dict[str, Any]) -> ClientMemory:
    """Returns all memories after some clients trained."""
    changed = {}
    for name, some in kept.items():
        before = getattr(memory, name)
        if some is not None and before is not None:
            changed[name] = put_clients(before, indices, from_state_dict(before, some))
    return dataclasses.replace(memory, **changed)


def layers_of(mask_KL: Array, slots: int) -> np.ndarray:
    """Lists every client's layers.

    Args:
      mask_KL: bool, True where client k trains layer l.
      slots: R, at least the largest number of layers of one client.

    Returns:
      layers_KR, int32, ascending; L in unused slots.
    """
    clients, num_layers = mask_KL.shape
    layers_KR = np.full((clients, slots), num_layers, np.int32)
    for row_R, row_L in zip(layers_KR, mask_KL, strict=True):
        chosen = np.flatnonzero(row_L)
        row_R[: len(chosen)] = chosen
    return layers_KR
