"""Rounds one by one: scores and choices of the clients, and the front with its pick."""

import dataclasses
from collections.abc import Sequence

from f3ocus_jax.report import layer_data
from f3ocus_jax.report.page import charts
from f3ocus_jax.report.page.charts import Chart, Form, Series
from f3ocus_jax.report.page.left_layers import LeftLayer, left_layers
from f3ocus_jax.report.page.scales import span
from f3ocus_jax.report.page.source import RunSource
from f3ocus_jax.types import ClientRecord, RoundRecord, SelectionRecord

MOST_CLIENTS = 40
"""Largest number of clients in the table of a round."""

MOST_CELLS = 30_000
"""Largest number of cells over all rounds, for the size of the page; a round more is left out."""

MOST_POINTS = 200
"""Largest number of points of a drawn front; of more, every n-th is drawn."""

MOST_LEFT = 30
"""Largest number of lines about left layers in a round."""

LEVELS = 9
"""Number of colours of a score, beside the one of 0."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Score of one layer to one client.

    Attributes:
      text: Score in percent.
      level: Colour, from 0 to `LEVELS`, relative to the client's largest score.
      trained: True if the client trained the layer.
      own: True if it would have chosen the layer by itself.
    """

    text: str
    level: int
    trained: bool
    own: bool


@dataclasses.dataclass(frozen=True)
class Row:
    """Layers of one client: its cells, or the reason why it was left out."""

    client: str
    cells: list[Cell]
    note: str


@dataclasses.dataclass(frozen=True)
class Round:
    """One round.

    Attributes:
      number: Number of the round.
      rows: Clients, in the federation's order.
      front: Chart of the front; None where the server searched none.
      pick: (importance, variance) of the choice; None without one.
      own: (importance, variance) of the clients' own choices; None without one.
      front_points: Points of the front.
      left: Layers that were left, with what they would have cost.
      more_left: Number of further ones.
    """

    number: int
    rows: list[Row]
    front: Chart | None
    pick: tuple[float, float] | None
    own: tuple[float, float] | None
    front_points: int
    left: list[LeftLayer]
    more_left: int


@dataclasses.dataclass(frozen=True)
class Explorer:
    """All rounds that are shown.

    Attributes:
      rounds: The rounds, ascending; the last is always among them.
      layers: Number of layers.
      every: n if every n-th round is shown.
      all_rounds: Number of rounds with choices.
      hidden_clients: Number of clients beyond those in the tables.
    """

    rounds: list[Round]
    layers: int
    every: int
    all_rounds: int
    hidden_clients: int


def explore(source: RunSource) -> Explorer | None:
    """Gathers the rounds; None before any client trained layers.

    Args:
      source: The run.
    """
    trained = layer_data.with_training(source.records)
    if not trained:
        return None
    num_layers = layer_data.num_layers(trained)
    clients = min(len(source.clients), MOST_CLIENTS)
    most_rounds = max(1, MOST_CELLS // (clients * num_layers))
    every = -(-len(trained) // most_rounds)
    kept = trained[::-1][::every][::-1]
    ranges = _front_ranges(kept)
    return Explorer(
        rounds=[_round(record, num_layers, ranges) for record in kept],
        layers=num_layers,
        every=every,
        all_rounds=len(trained),
        hidden_clients=len(source.clients) - clients,
    )


def _round(
    record: RoundRecord,
    num_layers: int,
    ranges: tuple[tuple[float, float], tuple[float, float]] | None,
) -> Round:
    selection, left = record.selection, left_layers(record)
    has_front = selection is not None and bool(selection.front)
    searched = selection is not None and len(selection.front) > 1
    return Round(
        number=record.round,
        rows=[_row(client, num_layers) for client in record.clients[:MOST_CLIENTS]],
        front=_draw_front(selection, record.round, ranges) if selection and searched else None,
        pick=selection.front[selection.pick] if selection and has_front else None,
        own=selection.own_point if selection else None,
        front_points=len(selection.front) if selection else 0,
        left=left[:MOST_LEFT],
        more_left=max(0, len(left) - MOST_LEFT),
    )


def _row(client: ClientRecord, num_layers: int) -> Row:
    if client.left_out is not None:
        return Row(client.client, [], client.left_out)
    largest = max(client.scores, default=0.0)
    scores = [*client.scores, *[None] * (num_layers - len(client.scores))]
    cells = [
        Cell(
            text="" if score is None else f"{100 * score:.0f}",
            level=round(LEVELS * score / largest) if score and largest > 0 else 0,
            trained=layer in client.layers,
            own=layer in client.own_layers,
        )
        for layer, score in enumerate(scores)
    ]
    return Row(client.client, cells, "")


def _front_ranges(
    records: Sequence[RoundRecord],
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Returns the ranges of variance and importance over all rounds, so that charts compare."""
    points = [
        point
        for record in records
        if record.selection is not None
        for point in [*record.selection.front, record.selection.own_point]
    ]
    if not points:
        return None
    return span([variance for _, variance in points]), span([value for value, _ in points])


def _draw_front(
    selection: SelectionRecord,
    number: int,
    ranges: tuple[tuple[float, float], tuple[float, float]] | None,
) -> Chart:
    front = [(variance, importance) for importance, variance in selection.front]
    drawn = front[:: -(-len(front) // MOST_POINTS)]
    x_range, y_range = ranges or (None, None)
    return charts.draw(
        [
            Series("front", drawn, charts.DOTS),
            Series("own", [selection.own_point[::-1]], charts.DOTS),
            Series("pick", [front[selection.pick]], charts.STAR),
        ],
        Form("variance of the layer picks (clients²)", "importance", 400, 250, whole=False),
        f"Front of round {number}: importance over variance of {len(front)} choices",
        x_range=x_range,
        y_range=y_range,
    )
