"""Score stage: every client measures the importance of its layers (F³OCUS, section 3.2)."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from f3ocus_jax import hosts
from f3ocus_jax.clients import batches, placement
from f3ocus_jax.config.kept import kept
from f3ocus_jax.data.examples import ClientData, local_mask, stack_batches
from f3ocus_jax.federation.client_side import ClientSide, Shared
from f3ocus_jax.federation.participation import Participation, check_enough
from f3ocus_jax.federation.private_runs import has_private_scores
from f3ocus_jax.federation.settings import FederatedConfig
from f3ocus_jax.federation.stages import last_scores, score_changes
from f3ocus_jax.federation.stages.client_axis import put_clients, take_clients
from f3ocus_jax.importance import Importance
from f3ocus_jax.importance.settings import ImportanceConfig
from f3ocus_jax.privacy import secret
from f3ocus_jax.privacy.secret import Secret
from f3ocus_jax.privacy.settings import NOT_PRIVATE, PrivacyConfig
from f3ocus_jax.types import ClientMemory, Params, Rows, ServerState


@dataclasses.dataclass(frozen=True)
class ScoredClients:
    """Result of the score stage.

    Attributes:
      importance: Importance with leading axis K. Layers of a client without scores share its
        importance equally, and its other arrays are 0.
      left_out: Reason why each client takes no part in the rest of the round; None if it does.
      present_K: bool, True for clients that do.
      kept_K: bool, True for clients whose scores are those of an earlier round.
    """

    importance: Importance
    left_out: list[str | None]
    present_K: np.ndarray
    kept_K: np.ndarray


@dataclasses.dataclass(frozen=True)
class ScoreAnswers:
    """What the clients of a round answer when they are asked for their scores.

    Attributes:
      importance: Importance with leading axis K; any values for clients that did not answer.
      reasons: Reason why each client's scores cannot be used; None if they can.
      kept_K: bool, True for clients whose scores are those of an earlier round.
    """

    importance: Importance
    reasons: list[str | None]
    kept_K: np.ndarray


ScoreStage = Callable[
    [ServerState, ClientMemory, int, jax.Array], tuple[ScoredClients, ClientMemory]
]
"""(state, memory, round number, key) -> (scored clients, memory)."""

ScoreClients = Callable[
    [Rows, Params, ClientMemory, int, np.ndarray, np.ndarray], tuple[ScoreAnswers, ClientMemory]
]
"""(rows_L, head, memory, round number, key data of the K clients, indices of those that are asked)
-> (answers, memory)."""

TakeScores = Callable[[int, ScoreAnswers], ScoredClients]
"""(round number, answers) -> scored clients."""


def make_score_stage(
    client_side: ClientSide,
    frozen: Params,
    clients: list[ClientData],
    participation: Participation,
    *,
    importance: ImportanceConfig,
    federated: FederatedConfig,
    seed: int,
    privacy: PrivacyConfig = NOT_PRIVATE,
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
      privacy: Settings of differential privacy.

    Returns:
      The stage. It raises RoundError if fewer than `federated.min_clients` scores are usable.
    """
    shared: dict[str, Any] = {"importance": importance, "federated": federated, "seed": seed}
    most = participation.most
    ask = make_score_clients(client_side, frozen, clients, most=most, privacy=privacy, **shared)
    names = [client.name for client in clients]
    take = make_take_scores(names, participation, **shared)

    def score(
        state: ServerState, memory: ClientMemory, number: int, key: jax.Array
    ) -> tuple[ScoredClients, ClientMemory]:
        present = np.flatnonzero(participation.present(number))
        keys_K = client_keys(key, len(clients))
        answers, memory = ask(state.rows_L, state.head, memory, number, keys_K, present)
        return take(number, answers), memory

    return score


def client_keys(key: jax.Array, clients: int) -> np.ndarray:
    """Returns the data of the key that each of K clients scores its layers with in a round."""
    return np.asarray(jax.random.key_data(jax.random.split(key, clients)))


def make_score_clients(
    client_side: ClientSide,
    frozen: Params,
    clients: list[ClientData],
    *,
    most: int,
    importance: ImportanceConfig,
    federated: FederatedConfig,
    seed: int,
    privacy: PrivacyConfig = NOT_PRIVATE,
) -> ScoreClients:
    """Makes the clients' part of the stage: those that are asked score their layers.

    Args:
      client_side: The client's half of a round.
      frozen: Parameters that no client trains.
      clients: All K clients.
      most: Largest number of clients in a round.
      importance: Settings of the score.
      federated: Settings of the placement.
      seed: Seed of the run.
      privacy: Settings of differential privacy; noised scores take keys that nobody else knows.

    Returns:
      The function.
    """
    is_private = has_private_scores(privacy, importance)
    own_secret = secret.take(privacy.secret_seed) if is_private else None
    local_K = local_mask(clients)
    score_clients = placement.stream(
        _make_score_one(client_side),
        placement.KEEP_ALL,
        most=min(most, int(local_K.sum())),
        placement=federated.placement,
        clients_in_memory=federated.clients_in_memory,
    )

    def ask(
        rows_L: Rows,
        head: Params,
        memory: ClientMemory,
        number: int,
        keys_K: np.ndarray,
        present: np.ndarray,
    ) -> tuple[ScoreAnswers, ClientMemory]:
        due = last_scores.due_clients(memory, present, number, importance.every)
        own = due[local_K[due]]
        # Eigenvectors belong to their examples.
        drawn_in = number if memory.vectors_LNC is None else 0

        def gather(some: np.ndarray) -> tuple[Any, ...]:
            who = own[some]
            probes = [_probe(clients[index], importance, seed, drawn_in) for index in who]
            own_memory = ClientMemory(vectors_LNC=memory.vectors_LNC, head=memory.head)
            keys = keys_K[who]
            if own_secret is not None:
                keys = _secret_keys(own_secret, [clients[index] for index in who], seed, number)
            return take_clients(own_memory, who), stack_batches(probes), keys

        _, made = score_clients((frozen, rows_L, head), len(own), gather)
        indices, found = hosts.gather_clients(own, made)
        memory, scored, failed = _take_up(memory, number, indices, found, len(clients))
        reasons = _failures(failed, scored, importance.score)
        kept_K = np.isin(np.arange(len(clients)), np.setdiff1d(present, indices))
        return ScoreAnswers(scored, reasons, kept_K), memory

    return ask


def _secret_keys(own: Secret, clients: list[ClientData], seed: int, number: int) -> np.ndarray:
    """Returns the data of keys that take the place of those that the server has sent."""
    return np.stack([own.key_data("scores", seed, number, client.name) for client in clients])


def make_take_scores(
    names: Sequence[str],
    participation: Participation,
    *,
    importance: ImportanceConfig,
    federated: FederatedConfig,
    seed: int,
) -> TakeScores:
    """Makes the server's part of the stage: who goes on, and with which scores.

    Args:
      names: Names of the K clients.
      participation: Participation of the clients in every round.
      importance: Settings of the score.
      federated: The smallest number of clients.
      seed: Seed of the run.

    Returns:
      The function. It raises RoundError if fewer than `federated.min_clients` scores are usable.
    """

    def take(number: int, answers: ScoreAnswers) -> ScoredClients:
        planned = participation.reasons(number)
        present = np.flatnonzero([reason is None for reason in planned])
        check_enough(number, names, len(present), answers.reasons, federated.min_clients)
        left_out = _first_reasons(planned, answers.reasons)
        present_K = np.array([reason is None for reason in left_out])
        some = take_clients(answers.importance, present)
        everyone = _extend_to_all(some, present, len(names))
        everyone = score_changes.change(everyone, present_K, importance, seed)
        return ScoredClients(everyone, left_out, present_K, answers.kept_K)

    return take


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


def _take_up(
    memory: ClientMemory, number: int, indices: np.ndarray, found: Any, clients: int
) -> tuple[ClientMemory, Importance, np.ndarray]:
    """Takes up what some clients found: (memories, all clients' importance, those that failed)."""
    if found is None:
        return memory, memory.importance_L, indices
    new = Importance(**found["importance"])
    vectors = put_clients(memory.vectors_LNC, indices, found["memory"]["vectors_LNC"])
    memory = dataclasses.replace(memory, vectors_LNC=vectors)
    scored = last_scores.with_new(memory.importance_L, indices, new, clients)
    is_finite = np.isfinite(new.values_L).all(axis=1)
    memory = last_scores.remember(memory, indices[is_finite], scored, number)
    return memory, scored, indices[~is_finite]


def _failures(failed: np.ndarray, scored: Importance, score: str) -> list[str | None]:
    """Returns the reason why each client's scores cannot be used; None if they can."""
    reasons: list[str | None] = [None] * len(scored.values_L)
    for index in failed:
        values_L = np.asarray(scored.values_L[index])
        layer = np.flatnonzero(~np.isfinite(values_L))[0]
        reasons[index] = f"layer {layer}: the score {score} is {values_L[layer]}"
    return reasons


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
