"""Evaluate stage: every client measures the global model on its test split."""

import dataclasses
from collections.abc import Callable

import numpy as np

from f3ocus_jax import hosts
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.errors import RoundError
from f3ocus_jax.evaluation import client_metrics
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.evaluation.inference import Predict
from f3ocus_jax.models import units
from f3ocus_jax.types import Params, ServerState

EvaluateStage = Callable[[ServerState], list[ClientMetrics]]
"""state -> metrics of every client."""


def make_evaluate_stage(
    predict: Predict, frozen: Params, clients: list[ClientData], *, unit: str
) -> EvaluateStage:
    """Makes the stage that measures the global model.

    Args:
      predict: Runs the model over a split.
      frozen: Parameters that no client trains.
      clients: All K clients.
      unit: A key of `units.UNITS`.

    Returns:
      The stage. It raises RoundError if a test loss is not finite.
    """

    def evaluate(state: ServerState) -> list[ClientMetrics]:
        params = units.join(frozen, state.rows_L, state.head, unit)
        local = hosts.local_clients(clients)
        measured = client_metrics.evaluate_clients(predict, params, local)
        own = {
            client.name: dataclasses.asdict(metrics)
            for client, metrics in zip(local, measured, strict=True)
        }
        everyone = {
            name: ClientMetrics(**one)
            for part in hosts.all_gather(own)
            for name, one in part.items()
        }
        # Every host checks every client, so that all of them stop at the same point.
        for client in clients:
            _check_finite(int(state.round), client.name, everyone[client.name])
        return [everyone[client.name] for client in clients]

    return evaluate


def _check_finite(number: int, client: str, metrics: ClientMetrics) -> None:
    if not np.isfinite(metrics.test.get("loss", 0.0)):
        raise RoundError(
            f"round {number}, client {client}, the test loss is not finite; the checkpoints of "
            "earlier rounds stay, start again with a lower config.training.learning_rate in a new "
            "workdir"
        )
