"""Score stage: every client measures the importance of its layers (F³OCUS, section 3.2)."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from f3ocus_jax import hosts
from f3ocus_jax.clients import batches, placement
from f3ocus_jax.config.kept import kept
from f3ocus_jax.data.examples import ClientData, local_mask, stack_batches
from f3ocus_jax.federation.client_side import ClientSide, Shared
from f3ocus_jax.federation.participation import Participation, check_enough
from f3ocus_jax.federation.settings import FederatedConfig
from f3ocus_jax.federation.stages.client_axis import put_clients, take_clients
from f3ocus_jax.importance import Importance
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.types import ClientMemory, Params, ServerState


@dataclasses.dataclass(frozen=True)
class ScoredClients:
    """Result of the score stage.

    Attributes:
      importance: Importance with leading axis K. Layers of a client without scores share its
        importance equally, and its other arrays are 0.
      left_out: Reason why each client takes no part in the rest of the round; None if it does.
      present_K: bool, True for clients that do.
    """

    importance: Importance
    left_out: list[str | None]
    present_K: np.ndarray


ScoreStage = Callable[
    [ServerState, ClientMemory, int, jax.Array], tuple[ScoredClients, ClientMemory]
]
"""(state, memory, round number, key) -> (scored clients, memory)."""


def make_score_stage(
    client_side: ClientSide,
    frozen: Params,
    clients: list[ClientData],
    participation: Participation,
    *,
    importance: ImportanceConfig,
    federated: FederatedConfig,
    seed: int,
) -> ScoreStage:
    """Makes the stage that scores the layers of all clients that take part.

    Args:
      client_side: The client's half of a round.
      frozen: Parameters that no client trains.
      clients: All K clients.
      participation: Participation of the clients in every round.
      importance: Settings of the score.
      federated: Settings of the placement, and the smallest number of clients.
      seed: Seed of the run.

    Returns:
      The stage. It raises RoundError if fewer than `federated.min_clients` scores are usable.
    """
    local_K = local_mask(clients)
    score_clients = placement.stream(
        _make_score_one(client_side),
        placement.KEEP_ALL,
        most=min(participation.most, int(local_K.sum())),
        placement=federated.placement,
        clients_in_memory=federated.clients_in_memory,
    )

    def score(
        state: ServerState, memory: ClientMemory, number: int, key: jax.Array
    ) -> tuple[ScoredClients, ClientMemory]:
        indices = np.flatnonzero(participation.present(number) & local_K)
        keys_K = jax.random.key_data(jax.random.split(key, len(clients)))
        # Eigenvectors belong to their examples.
        drawn_in = number if memory.vectors_LNC is None else 0

        def gather(some: np.ndarray) -> tuple[Any, ...]:
            who = indices[some]
            probes = [_probe(clients[index], importance, seed, drawn_in) for index in who]
            warm = ClientMemory(vectors_LNC=take_clients(memory.vectors_LNC, who))
            return warm, stack_batches(probes), keys_K[who]

        shared = (frozen, state.rows_L, state.head)
        _, own = score_clients(shared, len(indices), gather)
        indices, found = hosts.gather_clients(indices, own)
        scored = Importance(**found["importance"])
        failed = _failures(indices, scored, len(clients), importance.score)
        names = [client.name for client in clients]
        check_enough(number, names, len(indices), failed, federated.min_clients)
        vectors = put_clients(memory.vectors_LNC, indices, found["memory"]["vectors_LNC"])
        left_out = _first_reasons(participation.reasons(number), failed)
        present_K = np.array([reason is None for reason in left_out])
        scored = _extend_to_all(scored, indices, len(clients))
        memory = dataclasses.replace(memory, vectors_LNC=vectors)
        return ScoredClients(scored, left_out, present_K), memory

    return score


@kept
def _make_score_one(client_side: ClientSide) -> Callable[[Shared, tuple[Any, ...]], dict[str, Any]]:
    def score_one(shared: Shared, one: tuple[Any, ...]) -> dict[str, Any]:
        memory, batch, key_data = one
        key = jax.random.wrap_key_data(key_data)
        importance, memory = client_side.score(shared, memory, batch, key)
        return {"importance": importance, "memory": memory}

    return score_one


def _probe(client: ClientData, settings: ImportanceConfig, seed: int, number: int) -> Any:
    return batches.draw_probe_batch(
        client, seed=seed, number=number, examples=settings.probe_examples
    )


def _failures(indices: np.ndarray, scored: Importance, count: int, score: str) -> list[str | None]:
    """Returns the reason why each client's scores cannot be used; None if they can."""
    failed: list[str | None] = [None] * count
    for index, values_L in zip(indices, np.asarray(scored.values_L), strict=True):
        for layer in np.flatnonzero(~np.isfinite(values_L))[:1]:
            failed[index] = f"layer {layer}: the score {score} is {values_L[layer]}"
    return failed


def _first_reasons(first: list[str | None], second: list[str | None]) -> list[str | None]:
    return [one or other for one, other in zip(first, second, strict=True)]


def _extend_to_all(scored: Importance, indices: np.ndarray, count: int) -> Importance:
    """Extends the scores of some clients to all: equal scores, and 0 for the rest."""

    def extend(leaf: np.ndarray) -> np.ndarray:
        return put_clients(np.zeros((count, *leaf.shape[1:]), leaf.dtype), indices, leaf)

    extended = jax.tree.map(extend, scored)
    others_K = np.isin(np.arange(count), indices, invert=True)
    extended.scores_L[others_K] = 1.0 / extended.scores_L.shape[1]
    return extended
