"""Curves of a run over its rounds: accuracy with baselines, loss, layer picks, convergence."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from f3ocus_jax.evaluation import accuracy, round_choice
from f3ocus_jax.report import layer_data
from f3ocus_jax.report.page import charts
from f3ocus_jax.report.page.charts import Chart, Form, Series
from f3ocus_jax.report.page.scales import span
from f3ocus_jax.report.page.source import MOST_PANELS, RunSource, measured
from f3ocus_jax.report.page.verdict import MAJORITY, PER_QUESTION, Outcome, mean
from f3ocus_jax.types import ClientRecord, RoundRecord

LOWEST_RESIDUAL = 1e-12
"""Residuals below it are drawn at it, since a logarithmic axis has no 0."""


def accuracy_charts(source: RunSource, found: Sequence[Outcome]) -> list[tuple[str, Chart]]:
    """Draws the main metric over rounds, of the mean and of every client, on one common scale.

    Args:
      source: The run.
      found: Outcomes of its clients, with the baselines.

    Returns:
      (client or "mean over the clients", chart).
    """
    records = round_choice.evaluated(source.records)
    chosen = round_choice.chosen_round(source.records).round
    ends = (source.records[0].round, max(source.records[-1].round, 1))
    panels = [("mean over the clients", _mean_series(records, found, chosen, ends))]
    panels += [
        (outcome.client, _client_series(records, k, outcome, chosen, ends))
        for k, outcome in enumerate(found[:MOST_PANELS])
    ]
    values = [y for _, series in panels for each in series for _, y in each.points]
    y_range = span(values)
    form = Form("round", "%", percent=True)
    return [
        (name, charts.draw(series, form, f"{name}: metric over rounds", y_range=y_range))
        for name, series in panels
    ]


def loss_chart(source: RunSource) -> Chart | None:
    """Draws the mean training and test loss over rounds; None if there is no loss."""
    train = [(r.round, _mean_loss(r, lambda client: client.train_loss)) for r in source.records]
    test = [(r.round, _mean_loss(r, _measured_loss)) for r in source.records]
    drawn = [
        Series(style, [(x, y) for x, y in points if math.isfinite(y)])
        for style, points in (("validation", train), ("test", test))
    ]
    if not any(series.points for series in drawn):
        return None
    label = "Training and test loss over rounds, mean over the clients"
    return charts.draw(drawn, Form("round", "nats", 400, 230), label)


def picks_chart(source: RunSource) -> Chart | None:
    """Draws how many clients train each layer, mean over the rounds; None without training."""
    trained = layer_data.with_training(source.records)
    if not trained:
        return None
    num_layers = layer_data.num_layers(trained)
    after_RL = layer_data.picks([[c.layers for c in r.clients] for r in trained], num_layers)
    before_RL = layer_data.picks([[c.own_layers for c in r.clients] for r in trained], num_layers)
    after_L, before_L = (picks_RL.mean(axis=0).tolist() for picks_RL in (after_RL, before_RL))
    series = [
        Series("bars", list(enumerate(after_L)), charts.BARS),
        Series("own", list(enumerate(before_L)), charts.DOTS),
    ]
    top = max([*after_L, *before_L, 0.0])
    form = Form("layer (0 = first block)", "clients", 400, 230)
    label = "Clients that trained each layer per round, and that would have by themselves"
    x_range = (-0.6, num_layers - 0.4)
    return charts.draw(series, form, label, x_range=x_range, y_range=(0.0, span([0.0, top])[1]))


def convergence_chart(source: RunSource) -> Chart | None:
    """Draws the largest residual of each round against the tolerance; None without residuals."""
    points = [
        (record.round, max(max(LOWEST_RESIDUAL, *client.residuals) for client in clients))
        for record in source.records
        if (clients := [client for client in record.clients if client.residuals])
    ]
    if not points:
        return None
    drawn = [Series("test", points)]
    if source.tolerance:
        ends = (points[0][0], points[-1][0])
        drawn.insert(0, Series("majority", [(x, source.tolerance) for x in ends]))
    form = Form("round", "residual", 400, 230, log=True)
    return charts.draw(drawn, form, "Largest relative residual of an eigenvalue over rounds")


def unconverged(source: RunSource) -> tuple[int, int]:
    """Returns (eigenvalues that did not converge, eigenvalues) over all rounds."""
    clients = [client for record in source.records for client in record.clients]
    return (
        sum(len(client.unconverged) for client in clients),
        sum(len(client.residuals) for client in clients),
    )


def _client_series(
    records: Sequence[RoundRecord], k: int, outcome: Outcome, chosen: int, ends: tuple[int, int]
) -> list[Series]:
    test = [(record.round, _metric(measured(record.clients[k]))) for record in records]
    validation = [(record.round, _metric(record.clients[k].validation)) for record in records]
    star = [(number, value) for number, value in test if number == chosen]
    return [
        *_baselines(outcome.baselines.get, ends),
        Series("validation", validation),
        Series("test", test),
        Series("pick", star, charts.STAR),
    ]


def _mean_series(
    records: Sequence[RoundRecord], found: Sequence[Outcome], chosen: int, ends: tuple[int, int]
) -> list[Series]:
    has_test = any(record.accuracy is not None for record in records)
    test = [(r.round, _number(r.accuracy if has_test else r.validation)) for r in records]
    validation = [(record.round, _number(record.validation)) for record in records]
    star = [(number, value) for number, value in test if number == chosen]
    return [
        *_baselines(lambda kind: _common_mean(found, kind), ends),
        Series("validation", validation),
        Series("test", test),
        Series("pick", star, charts.STAR),
    ]


def _common_mean(found: Sequence[Outcome], kind: str) -> float | None:
    """Returns the mean of a baseline, if all clients have it: otherwise it would not compare."""
    values = [outcome.baselines.get(kind) for outcome in found]
    return None if None in values else mean(values)


def _baselines(get: Callable[[str], float | None], ends: tuple[int, int]) -> list[Series]:
    return [
        Series(style, [(x, value) for x in ends])
        for kind, style in ((MAJORITY, "majority"), (PER_QUESTION, "question"))
        if (value := get(kind)) is not None
    ]


def _metric(metrics: Mapping[str, float]) -> float:
    return accuracy.main_metric(metrics) if metrics else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _measured_loss(client: ClientRecord) -> float | None:
    return measured(client).get("loss")


def _mean_loss(record: RoundRecord, get: Callable[[ClientRecord], float | None]) -> float:
    values = [value for client in record.clients if (value := get(client)) is not None]
    return float(np.mean(values)) if values else math.nan
