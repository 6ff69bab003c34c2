"""Evaluate stage: every client measures the global model on its validation and test splits."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from f3ocus_jax import hosts
from f3ocus_jax.data.examples import ClientData, local_clients
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.evaluation.inference import Predict
from f3ocus_jax.federation.stages.client_axis import by_client
from f3ocus_jax.federation.stages.client_work import describe_ratio
from f3ocus_jax.models import units
from f3ocus_jax.types import Params, Rows, ServerState, TrainingOutcome


class EvaluateStage(Protocol):
    """(state, outcome of the training that led to it, own heads) -> metrics of every client."""

    def __call__(
        self, state: ServerState, training: TrainingOutcome | None = None, heads: Params = None, /
    ) -> list[ClientMetrics]:
        """Evaluates the model.

        Args:
          state: State of the server.
          training: Outcome of the training that led to it; None for a model that no round trained.
          heads: Every client's own head, leading axis K; None where the state's is everyone's.

        Returns:
          K metrics.
        """
        ...


Measure = Callable[[Rows, Params, Params], dict[str, ClientMetrics]]
"""(rows_L, head, own heads or None) -> name of each client to its metrics."""


def make_evaluate_stage(
    predict: Predict,
    frozen: Params,
    clients: list[ClientData],
    *,
    unit: str,
    validates: bool = True,
    keeps_answers: bool = True,
) -> EvaluateStage:
    """Makes the stage that measures the global model.

    Args:
      predict: Runs the model over a split.
      frozen: Parameters that no client trains.
      clients: All K clients.
      unit: A key of `units.UNITS`.
      validates: False to measure test splits alone.
      keeps_answers: False to leave out which test answers are correct, which then stays on the host
        that has the examples.

    Returns:
      The stage. It raises RoundError if a test or validation loss is not finite, or no client has a
      test loss, or a validation loss where the test splits are left out.
    """

    measure = make_measure(
        predict, frozen, clients, unit=unit, validates=validates, keeps_answers=keeps_answers
    )

    def evaluate(
        state: ServerState, training: TrainingOutcome | None = None, heads: Params = None, /
    ) -> list[ClientMetrics]:
        measured = measure(state.rows_L, state.head, heads)
        own = {name: dataclasses.asdict(metrics) for name, metrics in measured.items()}
        everyone = {
            name: ClientMetrics(**one)
            for part in hosts.all_gather(own)
            for name, one in part.items()
        }
        # Every host checks every client, so that all of them stop at the same point.
        metrics = {client.name: everyone[client.name] for client in clients}
        check_metrics(int(state.round), metrics, training)
        return list(metrics.values())

    return evaluate


def make_measure(
    predict: Predict,
    frozen: Params,
    clients: list[ClientData],
    *,
    unit: str,
    validates: bool,
    keeps_answers: bool,
) -> Measure:
    """Makes the clients' part of the stage, for those whose examples are here.

    Args:
      predict: Runs the model over a split.
      frozen: Parameters that no client trains.
      clients: All K clients.
      unit: A key of `units.UNITS`.
      validates: See `make_evaluate_stage`.
      keeps_answers: See `make_evaluate_stage`.

    Returns:
      The function.
    """

    def measure(rows_L: Rows, head: Params, heads: Params) -> dict[str, ClientMetrics]:
        params = units.join(frozen, rows_L, head, unit)
        local = local_clients(clients)
        own_heads = by_client(heads, [client.name for client in clients])
        measured = client_metrics.evaluate_clients(
            predict, params, local, heads=own_heads, validates=validates
        )
        if not keeps_answers:
            measured = [dataclasses.replace(one, correct="") for one in measured]
        return {client.name: one for client, one in zip(local, measured, strict=True)}

    return measure


def check_metrics(
    number: int, metrics: Mapping[str, ClientMetrics], training: TrainingOutcome | None
) -> None:
    """Checks what all clients measured of a model.

    Args:
      number: Round number.
      metrics: Name of each client to its metrics.
      training: Outcome of the training that led to the model; None if there was none.

    Raises:
      RoundError: If nothing could be measured, or a loss is not finite.
    """
    _check_measurable(metrics)
    _check_finite(number, metrics, training)


def _check_measurable(metrics: Mapping[str, ClientMetrics]) -> None:
    """Raises RoundError if nothing can be measured; one client without a loss is possible."""
    split = "test" if any(one.test for one in metrics.values()) else "validation"
    if not any("loss" in getattr(one, split) for one in metrics.values()):
        raise RoundError(
            f"no client has a {split} answer that is among the training answers, so that there is "
            f"no {split} loss: lower config.data.minimum_answer_count, or use splits that share "
            "answers"
        )


def _check_finite(
    number: int, metrics: Mapping[str, ClientMetrics], training: TrainingOutcome | None
) -> None:
    for split in ("test", "validation"):
        losses = {name: getattr(one, split).get("loss", 0.0) for name, one in metrics.items()}
        failed = [name for name, loss in losses.items() if not np.isfinite(loss)]
        if not failed:
            continue
        others = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
        raise RoundError(
            f"round {number}, client {', '.join(failed[:3])}{others}, the {split} loss is not "
            "finite; "
            f"{_explain(list(metrics), training)}; the checkpoints of earlier rounds stay"
        )


def _explain(names: Sequence[str], training: TrainingOutcome | None) -> str:
    """Names the clients whose updates explain a model that is not finite, and a remedy."""
    norms = None if training is None else training.norms
    if norms is None or not (norms.outlying_K & norms.accepted_K).any():
        return "start again with a lower config.training.learning_rate in a new workdir"
    suspects = [
        f"client {names[index]}, {describe_ratio(norms, int(index))}"
        for index in np.argsort(-norms.ratios_K)
        if norms.outlying_K[index]
    ]
    return (
        f'the likely cause is {"; ".join(suspects)}; config.aggregation.outliers = "drop" leaves '
        "such an update out, in a new workdir"
    )
