"""One round of F³OCUS (Algorithm 1): score, select, train, aggregate, evaluate."""

import dataclasses

import jax

from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.federation.stages.aggregate import AggregateStage
from f3ocus_jax.federation.stages.evaluate import EvaluateStage
from f3ocus_jax.federation.stages.score import ScoredClients, ScoreStage
from f3ocus_jax.federation.stages.select import SelectStage
from f3ocus_jax.federation.stages.train import TrainStage
from f3ocus_jax.selection import Selection
from f3ocus_jax.types import ClientMemory, ServerState, TrainingOutcome


@dataclasses.dataclass(frozen=True)
class Stages:
    """The five stages of a round, each a pure function."""

    score: ScoreStage
    select: SelectStage
    train: TrainStage
    aggregate: AggregateStage
    evaluate: EvaluateStage


@dataclasses.dataclass(frozen=True)
class RoundOutcome:
    """Results of a round that a record is made from.

    Attributes:
      scored: Scores of all clients.
      chosen: The server's selection.
      training: Outcome of local training.
      metrics: Metrics of the new model on every client; None if it was not evaluated.
    """

    scored: ScoredClients
    chosen: Selection
    training: TrainingOutcome
    metrics: list[ClientMetrics] | None

    @property
    def left_out(self) -> list[str | None]:
        """Reason why each client was left out of the round, in any stage; None if it was not."""
        reasons = zip(self.scored.left_out, self.training.left_out, strict=True)
        return [before or during for before, during in reasons]


def run_round(
    stages: Stages,
    state: ServerState,
    memory: ClientMemory,
    number: int,
    key: jax.Array,
    *,
    evaluates: bool = True,
) -> tuple[ServerState, ClientMemory, RoundOutcome]:
    """Runs one round.

    Args:
      stages: The five stages.
      state: State of the server after the last round.
      memory: Memories of all clients after the last round.
      number: Round number, from 1.
      key: Key of the round.
      evaluates: False to leave the new model unevaluated.

    Returns:
      (state and memories after the round, its outcome).

    Raises:
      RoundError: if too few clients are left, or a test loss of the new model is not finite.
    """
    score_key, select_key = jax.random.split(key)
    scored, memory = stages.score(state, memory, number, score_key)  # section 3.2
    chosen = stages.select(state, scored, number, select_key)  # section 3.3
    updates, memory = stages.train(state, memory, number, chosen.mask_KL, scored.present_K)
    state = stages.aggregate(state, updates)  # section 3.1, as is local training
    state = dataclasses.replace(state, front_mask_PKL=chosen.front_mask_PKL)
    metrics = stages.evaluate(state, updates.outcome, memory.head) if evaluates else None
    return state, memory, RoundOutcome(scored, chosen, updates.outcome, metrics)
