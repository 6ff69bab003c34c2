"""Common style of all figures, and their reproducible output without a display."""

import contextlib
import functools
import os
import pathlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ParamSpec, TypeVar

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL.PngImagePlugin import PngImageFile

from f3ocus_jax.types import RoundRecord
from tfds_medvqa.common.printable import printable

Arguments = ParamSpec("Arguments")
Drawn = TypeVar("Drawn", bound=Figure | None)

CLIENT_COLOURS = (
    "#332288",
    "#CC6677",
    "#117733",
    "#88CCEE",
    "#AA4499",
    "#DDCC77",
    "#44AA99",
    "#882255",
    "#999933",
)
"""Paul Tol's "muted" scheme: nine colours that people with any colour vision can distinguish."""

LINE_STYLES = ("-", "--", ":", "-.")
"""Line styles of clients; the next one is used when all colours are taken."""

CHOSEN, OTHER, MEAN = "#CC3311", "#BBBBBB", "black"
"""Colours of chosen items, of other items, and of the mean."""

MAX_PANELS = 12
"""Largest number of panels in a figure with a panel per client."""

LONGEST_LABEL = 32
"""Characters of a client's name; the middle of a longer one is left out."""

STYLE: Any = {
    "font.size": 9,
    "figure.titlesize": 10,
    "figure.labelsize": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "svg.hashsalt": "f3ocus_jax",  # random names of parts otherwise
}

ROUND_STEPS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
"""Distances between labelled rounds."""

DOTS_PER_INCH = 200

FILE_OPTIONS: dict[str, Any] = {
    ".png": {"format": "png", "dpi": DOTS_PER_INCH, "metadata": {"Software": None}},
    ".svg": {"format": "svg", "metadata": {"Creator": None, "Date": None}},
}
"""Options of a file by its ending; without version and date, equal figures give equal bytes."""


@contextlib.contextmanager
def common_style() -> Iterator[None]:
    """Sets the common style regardless of the user's matplotlibrc, and restores it afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(STYLE)
        yield


def styled(draw: Callable[Arguments, Drawn]) -> Callable[Arguments, Drawn]:
    """Applies the common style to a drawing function."""

    @functools.wraps(draw)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Drawn:
        with common_style():
            return draw(*args, **kwargs)

    return wrapper


def new_figure(width: float, height: float) -> Figure:
    """Makes an empty figure, size in inches, that pyplot does not track and so cannot leak."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike[str], description: str = "") -> pathlib.Path:
    """Writes a PNG or an SVG; an existing file is replaced only when the new one is complete.

    Args:
      figure: The figure.
      path: File, whose name ends in a key of `FILE_OPTIONS`.
      description: Text that the file carries unseen, as the numbers that it shows; "" for none.

    Returns:
      The path.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    options = FILE_OPTIONS[path.suffix]
    if description:
        options = {**options, "metadata": {**options["metadata"], "Description": description}}
    # Ticks are created while drawing, so the style is needed here too.
    with common_style(), warnings.catch_warnings():
        # Scripts that the font lacks are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(temporary, **options)
    os.replace(temporary, path)
    return path


def description_of(path: str | os.PathLike[str]) -> str:
    """Returns the description that `save` wrote into a PNG; "" if it has none."""
    with PngImageFile(path) as image:  # a picture of our own, never one of the data
        return str(image.info.get("Description", ""))


def label(name: str) -> str:
    """Returns a name as matplotlib shows it literally: no mathematics, and in every legend."""
    shown = printable(name, LONGEST_LABEL).replace("$", r"\$")
    hidden = not shown or shown.startswith("_")  # A legend leaves such labels out.
    return f" {shown}" if hidden else shown


def client_names(records: Sequence[RoundRecord]) -> list[str]:
    """Returns the federation's clients in order."""
    return [client.client for client in records[-1].clients]


def client_colour(k: int) -> str:
    """Returns the colour of client k."""
    return CLIENT_COLOURS[k % len(CLIENT_COLOURS)]


def client_line(k: int) -> str:
    """Returns the line style of client k."""
    return LINE_STYLES[k // len(CLIENT_COLOURS) % len(LINE_STYLES)]


def panel_grid(panels: int) -> tuple[int, int]:
    """Returns (rows, columns) of a grid of small panels."""
    columns = {1: 1, 2: 2, 4: 2}.get(panels, 3)
    return -(-panels // columns), columns


def layer_ticks(num_layers: int, most: int = 12) -> list[int]:
    """Returns the layers to label: all of them, or every second, fourth, eighth.

    >>> layer_ticks(6), layer_ticks(48)
    ([0, 1, 2, 3, 4, 5], [0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44])
    """
    step = 1
    while num_layers > most * step:
        step *= 2
    return list(range(0, num_layers, step))


def round_ticks(rounds: Sequence[int], most: int = 4) -> list[int]:
    """Returns the positions in `rounds` to label: the first, and round multiples of 2, 5, 10 ...

    >>> round_ticks(range(1, 31)), round_ticks(range(1, 9)), round_ticks([3])
    ([0, 9, 19, 29], [1, 3, 5, 7], [0])
    """
    if len(rounds) <= most:
        return list(range(len(rounds)))
    step = next(s for s in ROUND_STEPS if len(rounds) <= most * s or s == ROUND_STEPS[-1])
    first = [0] if step > 2 and rounds[0] % step else []
    return first + [position for position, number in enumerate(rounds) if number % step == 0]


def label_rounds(axes: Axes, rounds: Sequence[int]) -> None:
    """Labels an axis whose positions 0, 1, 2 ... are the given rounds."""
    positions = round_ticks(rounds)
    axes.set_xticks(positions, [str(rounds[position]) for position in positions])


def too_many_clients(names: Sequence[str]) -> str:
    """Returns a note that a figure shows only some of the clients, or ""."""
    if len(names) <= MAX_PANELS:
        return ""
    return f" (the first {MAX_PANELS} of {len(names)} clients)"
