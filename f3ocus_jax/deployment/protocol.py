"""A federation over the protocol: the simulator's rounds, whose stages exchange messages."""

import dataclasses

import jax
import numpy as np

from f3ocus_jax.deployment.server import Exchange, Server
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.federation import experiment
from f3ocus_jax.federation.assembly import Parts
from f3ocus_jax.federation.round import Stages
from f3ocus_jax.federation.stages.aggregate import make_aggregate_stage
from f3ocus_jax.federation.stages.score import ScoredClients
from f3ocus_jax.federation.stages.select import make_select_stage
from f3ocus_jax.federation.stages.train import ReceivedUpdates
from f3ocus_jax.types import (
    Array,
    ClientMemory,
    Params,
    RoundRecord,
    ServerState,
    TrainingOutcome,
)


def make_stages(server: Server, exchange: Exchange, placement: str) -> Stages:
    """Makes the stages of a round whose clients are behind a transport.

    Args:
      server: The server's half, for which all sites are ready.
      exchange: The transport.
      placement: Placement of the server's own arrays, a key of `backends.BACKENDS`.

    Returns:
      The stages. The memories that they are given stay as they are: each site keeps its own.
    """

    def score(
        state: ServerState, memory: ClientMemory, number: int, key: jax.Array
    ) -> tuple[ScoredClients, ClientMemory]:
        exchange(server.ask_scores(state, number, key))
        return server.scores(), memory

    def train(
        state: ServerState,
        memory: ClientMemory,
        number: int,
        mask_KL: Array,
        present_K: np.ndarray,
    ) -> tuple[ReceivedUpdates, ClientMemory]:
        return server.train(exchange, state, number, mask_KL, present_K), memory

    def evaluate(
        state: ServerState, training: TrainingOutcome | None = None, heads: Params = None, /
    ) -> list[ClientMetrics]:
        del heads
        exchange(server.ask_metrics(state))
        return server.metrics(training)

    select = make_select_stage(server.side)
    aggregate = make_aggregate_stage(server.side, placement_name=placement)
    return Stages(score, select, train, aggregate, evaluate)


def without_data(parts: Parts, server: Server, exchange: Exchange) -> Parts:
    """Returns the parts of a run as its server has them: no examples, no memories.

    Args:
      parts: Parts of the run.
      server: The server's half, for which all sites are ready.
      exchange: The transport.
    """
    federation = dataclasses.replace(parts.federation, clients=server.clients)
    stages = make_stages(server, exchange, parts.config.federated.placement)
    return dataclasses.replace(parts, federation=federation, stages=stages, memory=ClientMemory())


def play(parts: Parts) -> tuple[ServerState, list[RoundRecord]]:
    """Runs all rounds.

    Args:
      parts: Parts from `without_data`.

    Returns:
      (state after the last round, records of all rounds).

    Raises:
      ProtocolError: If the transport raises it for a message that is refused.
      RoundError: If too few sites are left, or a loss of a new model is not finite.
    """
    state, memory, records = parts.start, parts.memory, [experiment.evaluate_start(parts)]
    while int(state.round) < parts.last_round:
        state, memory, record = experiment.next_round(parts, state, memory)
        records.append(record)
    return state, records
