"""Heatmaps of layer ranks over rounds: a small picture per client, and marks of its choices."""

import base64
import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from f3ocus_jax.report import layer_data
from f3ocus_jax.report.page.charts import BOTTOM, LEFT, RIGHT, TOP
from f3ocus_jax.report.page.scales import whole_ticks
from f3ocus_jax.report.page.source import MOST_PANELS, RunSource
from f3ocus_jax.types import ClientRecord

COLOURS = np.array(
    [(254, 232, 56), (188, 175, 111), (125, 124, 120), (65, 77, 107), (0, 34, 78)], np.float64
)
"""Stops of the colour map "cividis", from rank 1 to the last, for people with any colour vision."""

WIDTH, HEIGHT = 320.0, 210.0

LARGEST_PICTURE = 400
"""Largest number of rounds in a heatmap; with more, every n-th is shown."""


@dataclasses.dataclass(frozen=True)
class Heatmap:
    """Ranks of one client's layers, all places in units of the picture.

    Attributes:
      client: Name of the client.
      picture: Address of the picture, which holds its bytes: a pixel per round and layer.
      marks: Path of the marks of the layers that it trained.
      x_ticks: (place, label) of some rounds.
      y_ticks: (place, label) of some layers.
    """

    client: str
    picture: str
    marks: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]

    width, height, left, right, top, bottom = WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM


def heatmaps(source: RunSource) -> list[Heatmap]:
    """Draws the refined ranks of every client; none in a run without scores.

    Args:
      source: The run.
    """
    scored = layer_data.with_scores(source.records)
    if not scored:
        return []
    step = -(-len(scored) // LARGEST_PICTURE)
    scored = scored[::step]
    num_layers = layer_data.num_layers(scored)
    rounds = [record.round for record in scored]
    return [
        _draw(name, [record.clients[k] for record in scored], rounds, num_layers)
        for k, name in enumerate(source.clients[:MOST_PANELS])
    ]


def _draw(
    name: str, clients: Sequence[ClientRecord], rounds: Sequence[int], num_layers: int
) -> Heatmap:
    ranks_LR = layer_data.ranks_by_round(clients, num_layers, refined=True)
    column = (WIDTH - LEFT - RIGHT) / len(rounds)
    row = (HEIGHT - TOP - BOTTOM) / num_layers
    centres = {number: LEFT + (index + 0.5) * column for index, number in enumerate(rounds)}
    layers = whole_ticks([0, num_layers - 1], 7)
    return Heatmap(
        client=name,
        picture=picture(ranks_LR, num_layers),
        marks=_marks([client.layers for client in clients], column, row),
        x_ticks=[
            (round(centres[number], 1), str(number))
            for number in whole_ticks([rounds[0], rounds[-1]], 7)
            if number in centres
        ],
        y_ticks=[(round(_middle(layer, row), 1), str(layer)) for layer in layers],
    )


def picture(ranks_LR: np.ndarray, num_layers: int) -> str:
    """Encodes ranks as a picture with layer 0 at the bottom.

    Args:
      ranks_LR: float, 1 for the first layer; NaN becomes transparent.
      num_layers: L, the last rank.

    Returns:
      A data address of a PNG of L x rounds pixels.
    """
    shares_LR = (np.nan_to_num(ranks_LR, nan=1.0) - 1) / max(num_layers - 1, 1)
    stops = np.linspace(0, 1, len(COLOURS))
    channels = [np.interp(shares_LR, stops, COLOURS[:, channel]) for channel in range(3)]
    alpha = np.where(np.isnan(ranks_LR), 0, 255)
    pixels = np.stack([*channels, alpha], axis=-1).round().astype(np.uint8)[::-1]
    output = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(output, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(output.getvalue()).decode()}"


def _marks(layers_R: Sequence[Sequence[int]], column: float, row: float) -> str:
    """Returns a path with a small rectangle in the cell of every trained layer."""
    width, height = 0.44 * column, 0.44 * row
    return "".join(
        f"M{LEFT + (index + 0.28) * column:.1f} {_middle(layer, row) - height / 2:.1f}"
        f"h{width:.1f}v{height:.1f}h-{width:.1f}z"
        for index, layers in enumerate(layers_R)
        for layer in layers
    )


def _middle(layer: int, row: float) -> float:
    return HEIGHT - BOTTOM - (layer + 0.5) * row
