"""Select stage: the server chooses the layers of every client (F³OCUS, section 3.3)."""

from collections.abc import Callable

import jax

from f3ocus_jax.errors import RoundError
from f3ocus_jax.federation.server_side import ServerSide
from f3ocus_jax.federation.stages.score import ScoredClients
from f3ocus_jax.selection import InfeasibleError, Selection
from f3ocus_jax.types import ServerState

SelectStage = Callable[[ServerState, ScoredClients, int, jax.Array], Selection]
"""(state, scored clients, round number, key) -> selection, as NumPy arrays."""


def make_select_stage(server_side: ServerSide) -> SelectStage:
    """Makes the stage that chooses layers from scores alone.

    Args:
      server_side: The server's half of a round.

    Returns:
      The stage. It raises RoundError if failed clients leave no choice within the limits.
    """

    def select(state: ServerState, scored: ScoredClients, number: int, key: jax.Array) -> Selection:
        scores_KL = scored.importance.scores_L
        try:
            return server_side.choose(scores_KL, scored.present_K, state.front_mask_PKL, key)
        except InfeasibleError as error:
            raise RoundError(f"round {number}: {error}; clients have failed in it") from error

    return select
