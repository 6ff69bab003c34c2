"""Train stage: clients train their chosen layers, and the server receives their updates."""

import dataclasses
from collections.abc import Callable
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
from f3ocus_jax.federation.stages.client_work import ClientWork, describe_clients
from f3ocus_jax.types import Array, ClientMemory, Params, ServerState, TrainingOutcome


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

    Returns:
      The stage. It raises RoundError if fewer than `federated.min_clients` updates are usable.
    """
    facts, names = describe_clients(clients, training, seed), [client.name for client in clients]
    local_K = local_mask(clients)
    train_clients = placement.stream(
        _make_train_one(client_side),
        make_fold(server_side.start, server_side.receive),
        most=min(participation.most, int(local_K.sum())),
        placement=federated.placement,
        clients_at_once=federated.clients_at_once,
        clients_in_memory=federated.clients_in_memory,
    )

    def train(
        state: ServerState,
        memory: ClientMemory,
        number: int,
        mask_KL: Array,
        present_K: np.ndarray,
    ) -> tuple[ReceivedUpdates, ClientMemory]:
        dropped_K = participation.dropped(number) & present_K
        indices = np.flatnonzero(present_K & ~dropped_K & local_K)
        layers_KR = layers_of(mask_KL, slots)
        steps_K = participation.steps(number, facts.planned_K)
        examples_K = np.where(present_K & ~dropped_K, facts.weights_K, 0.0)
        trained_K = facts.trained(number, np.arange(len(clients)), layers_KR, state.head)
        weights_K = server_side.weigh(examples_K, steps_K, trained_K, mask_KL.shape[1])

        def gather(some: np.ndarray) -> ClientWork:
            given = (layers_KR, steps_K, weights_K, memory, state.head)
            return facts.work(number, indices[some], *given)

        shared = (frozen, state.rows_L, state.head)
        total, own = train_clients(shared, len(indices), gather)
        indices, received_K, kept = gather_updates(indices, own)
        norms = None if received_K is None else server_side.judge(received_K)
        outcome = facts.outcome(indices, dropped_K, steps_K, received_K, norms)
        check_enough(number, names, int(present_K.sum()), outcome.left_out, federated.min_clients)
        trained_K = facts.trained(number, indices, layers_KR, state.head)
        memory = _remember(memory, indices, kept)
        return ReceivedUpdates(total, received_K, trained_K, outcome), memory

    return train


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


def gather_updates(
    indices: np.ndarray, own: dict[str, Any] | None
) -> tuple[np.ndarray, ReceivedUpdate | None, dict[str, Any]]:
    """Joins the updates that the hosts received from their own clients.

    Args:
      indices: This host's clients that trained, ascending.
      own: Their received updates and memories, as `make_fold` keeps them; None of none.

    Returns:
      (indices of all hosts' clients that trained, their received updates, None of no client, and
      their memories after training as nested dicts, empty of no client).
    """
    indices, held = hosts.gather_clients(indices, own)
    if held is None:
        return indices, None, {}
    received = held["received"]
    change = None if received["change"] is None else Change(**received["change"])
    weight = None if received["weight"] is None else LayerWeights(**received["weight"])
    known = (received["losses_S"], received["finite"], received["norm"])
    received_K = ReceivedUpdate(*known, change, weight)
    return indices, received_K, held["memory"]


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
