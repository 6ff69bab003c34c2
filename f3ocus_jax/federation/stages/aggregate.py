"""Aggregate stage: the server turns the clients' updates into the next model (section 3.1)."""

from collections.abc import Callable

from f3ocus_jax.clients import placement
from f3ocus_jax.federation.server_side import ServerSide
from f3ocus_jax.federation.stages.train import ReceivedUpdates
from f3ocus_jax.types import ServerState

AggregateStage = Callable[[ServerState, ReceivedUpdates], ServerState]
"""(state, updates) -> state after the round, apart from its front."""


def make_aggregate_stage(server_side: ServerSide, *, placement_name: str) -> AggregateStage:
    """Makes the stage that steps the server's model.

    Args:
      server_side: The server's half of a round.
      placement_name: A key of `backends.BACKENDS`.

    Returns:
      The stage.
    """

    def aggregate(state: ServerState, updates: ReceivedUpdates) -> ServerState:
        state = placement.shard_state(state, placement_name)
        return server_side.step(state, updates.total, updates.received_K, updates.trained_K)

    return aggregate
