"""Records made from the results of a round: one per client, one of the selection, one of all."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.evaluation import accuracy
from f3ocus_jax.evaluation.client_metrics import ClientMetrics
from f3ocus_jax.importance import Importance
from f3ocus_jax.selection import Selection
from f3ocus_jax.types import Array, ClientRecord, RoundRecord, SelectionRecord, TrainingOutcome


def make_start_record(
    clients: Sequence[ClientData],
    budgets_K: np.ndarray,
    metrics: Sequence[ClientMetrics],
    seconds: Mapping[str, float],
) -> RoundRecord:
    """Makes the record of round 0: the model before any training.

    Args:
      clients: All K clients.
      budgets_K: int32, number of layers that each may train.
      metrics: Metrics of every client.
      seconds: Wall time by stage.

    Returns:
      The record.
    """
    records = [
        _bystander_record(client, budget, None, measured)
        for client, budget, measured in zip(clients, budgets_K, metrics, strict=True)
    ]
    return _round_record(0, records, None, seconds)


def make_round_record(
    number: int,
    clients: Sequence[ClientData],
    budgets_K: np.ndarray,
    *,
    importance: Importance,
    selected: Selection,
    training: TrainingOutcome,
    metrics: Sequence[ClientMetrics] | None,
    kept_K: np.ndarray,
    left_out: Sequence[str | None],
    score: str,
    algorithm: str,
    seconds: Mapping[str, float],
) -> RoundRecord:
    """Makes the record of a finished round.

    Args:
      number: Round number, from 1.
      clients: All K clients.
      budgets_K: int32, number of layers that each may train.
      importance: Scores with leading axis K, as NumPy arrays.
      selected: The server's selection, as NumPy arrays.
      training: Outcome of local training.
      metrics: Metrics of the new model on every client; None if it was not evaluated.
      kept_K: bool, True for clients whose scores are those of an earlier round.
      left_out: Reason why each client was left out; None if its update was used.
      score: Name of the score.
      algorithm: Name of the selector.
      seconds: Wall time by stage.

    Returns:
      The record.
    """
    measured_K = _every(metrics, clients)
    records = [
        _bystander_record(client, budgets_K[index], left_out[index], measured_K[index])
        if left_out[index]
        else _client_record(
            index, client, budgets_K[index], importance, kept_K, selected, training, measured_K
        )
        for index, client in enumerate(clients)
    ]
    records = [_with_norm(record, training, index) for index, record in enumerate(records)]
    return _round_record(number, records, _selection_record(selected, score, algorithm), seconds)


def _every(
    metrics: Sequence[ClientMetrics] | None, clients: Sequence[ClientData]
) -> Sequence[ClientMetrics]:
    """Returns one set of metrics per client, empty ones if the model was not evaluated."""
    return [ClientMetrics({}, [])] * len(clients) if metrics is None else metrics


def _bystander_record(
    client: ClientData, budget: int, left_out: str | None, metrics: ClientMetrics
) -> ClientRecord:
    """Makes the record of a client whose update was not used."""
    return ClientRecord(
        client=client.name,
        train_examples=len(client.train),
        budget=int(budget),
        left_out=left_out,
        values=[],
        residuals=[],
        scores=[],
        own_layers=[],
        layers=[],
        train_loss=None,
        test=metrics.test,
        thresholds=metrics.thresholds,
        validation=metrics.validation,
        correct=metrics.correct,
    )


def _client_record(
    index: int,
    client: ClientData,
    budget: int,
    importance: Importance,
    kept_K: np.ndarray,
    selected: Selection,
    training: TrainingOutcome,
    measured_K: Sequence[ClientMetrics],
) -> ClientRecord:
    steps, metrics = int(training.steps_K[index]), measured_K[index]
    residuals, converged = importance.residuals_L, importance.converged_L
    return ClientRecord(
        client=client.name,
        train_examples=len(client.train),
        budget=int(budget),
        left_out=None,
        values=importance.values_L[index].tolist(),
        residuals=[] if residuals is None else residuals[index].tolist(),
        scores=importance.scores_L[index].tolist(),
        own_layers=_layers(selected.own_mask_KL[index]),
        layers=_layers(selected.mask_KL[index]),
        train_loss=float(np.mean(training.losses_KS[index, :steps], dtype=np.float64)),
        test=metrics.test,
        ranks=selected.ranks_KL[index].tolist(),
        unconverged=[] if converged is None else _layers(~converged[index]),
        thresholds=metrics.thresholds,
        steps=steps,
        straggled=bool(training.straggled_K[index]),
        validation=metrics.validation,
        correct=metrics.correct,
        kept_scores=bool(kept_K[index]),
    )


def _with_norm(record: ClientRecord, training: TrainingOutcome, index: int) -> ClientRecord:
    """Adds the norm of the client's update, if it sent one that is finite."""
    norms = training.norms
    if norms is None or not np.isfinite(norms.norms_K[index]):
        return record
    norm, ratio = float(norms.norms_K[index]), float(norms.ratios_K[index])
    return dataclasses.replace(record, update_norm=norm, norm_ratio=ratio)


def _layers(mask_L: Array) -> list[int]:
    """Lists the layers of a mask."""
    return np.flatnonzero(np.asarray(mask_L)).tolist()


def _selection_record(selected: Selection, score: str, algorithm: str) -> SelectionRecord:
    front_PM = np.asarray(selected.front_objectives_PM, np.float64)
    ascending = np.argsort(front_PM[:, 0], kind="stable")
    order_P = [int(index) for index in ascending if selected.front_valid_P[index]]
    own_M = selected.own_objectives_M
    return SelectionRecord(
        score=score,
        algorithm=algorithm,
        front=[(float(front_PM[index, 0]), float(front_PM[index, 1])) for index in order_P],
        pick=order_P.index(int(selected.pick)),
        own_point=(float(own_M[0]), float(own_M[1])),
        hypervolume=float(selected.hypervolume),
    )


def _round_record(
    number: int,
    clients: list[ClientRecord],
    selected: SelectionRecord | None,
    seconds: Mapping[str, float],
) -> RoundRecord:
    validated = [accuracy.main_metric(client.validation) for client in clients if client.validation]
    tested = [accuracy.main_metric(client.test) for client in clients if client.test]
    losses = [client.test["loss"] for client in clients if "loss" in client.test]
    return RoundRecord(
        round=number,
        accuracy=float(np.mean(tested)) if tested else None,
        loss=float(np.mean(losses)) if losses else None,
        clients=clients,
        selection=selected,
        seconds=seconds,
        validation=float(np.mean(validated)) if validated else None,
    )
