"""Layout of tables of text, on a terminal of any width and in Markdown."""

import itertools
import re
from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from tfds_medvqa.common.printable import printable

Cells = Sequence[Sequence[str]]
"""Rows of text, the heading first; the first column is the name of a row."""

SHORT_NAME = 10
"""Names are wrapped to this many characters on narrow terminals."""

LONGEST_NAME = 60
"""Characters of a cell on a terminal; the middle of a longer one is left out."""

_MARKED_UP = re.compile(r"[\\`*\[\]<>|~&$]")
"""Characters that Markdown or HTML in it gives a meaning anywhere in a line."""


def print_cells(cells: Cells, console: Console, cuts: Sequence[int] = ()) -> None:
    """Prints a table in one piece, in several, or as a list, depending on the width.

    Args:
      cells: Table to print.
      console: Console to print to.
      cuts: Indices of the columns before which the table may be split, in ascending order; the
        first is used first, and every piece has the names.
    """
    cells = [[printable(cell, LONGEST_NAME) for cell in row] for row in cells]
    pieces: list[Cells] = [cells]
    layouts: list[tuple[list[Cells], int | None]] = [(pieces, None)]
    for used in range(1, len(cuts) + 1):
        pieces = _split(cells, cuts[:used])
        layouts.append((pieces, None))
    layouts.append((pieces, SHORT_NAME))
    for pieces, name_width in layouts:
        tables = [_rich_table(piece, name_width) for piece in pieces]
        if all(_least_width(table, console) <= console.width for table in tables):
            console.print(*tables, sep="\n")
            return
    _print_list(cells, console)


def _split(cells: Cells, cuts: Sequence[int]) -> list[Cells]:
    """Splits a table before some of its columns and repeats the names."""
    edges = [1, *cuts, len(cells[0])]
    return [
        [[row[0], *row[start:end]] for row in cells] for start, end in itertools.pairwise(edges)
    ]


def markdown(cells: Cells) -> str:
    """Formats a table in Markdown, numbers right-aligned; what Markdown would act on is escaped."""
    header, *body = cells
    rows = [header, [":--"] + ["--:"] * (len(header) - 1), *body]
    lines = ("| " + " | ".join(map(escape_markdown, row)) + " |" for row in rows)
    return "\n".join(lines)


def escape_markdown(cell: str) -> str:
    """Returns one line in which Markdown and HTML act on nothing."""
    return _MARKED_UP.sub(r"\\\g<0>", printable(cell))


def _rich_table(cells: Cells, name_width: int | None) -> Table:
    """Makes a table in which only the names may be wrapped."""
    table = Table()
    table.add_column(Text(cells[0][0]), overflow="fold", max_width=name_width)
    for heading in cells[0][1:]:
        table.add_column(Text(heading.replace(" ", "\n")), justify="right", no_wrap=True)
    for row in cells[1:]:
        table.add_row(*(Text(cell) for cell in row))
    return table


def _least_width(table: Table, console: Console) -> int:
    """Returns the least width of a table, measured on a wide console because rich clips it."""
    return Measurement.get(console, console.options.update(max_width=10_000), table).minimum


def _print_list(cells: Cells, console: Console) -> None:
    """Prints one value per line, for terminals narrower than the table."""
    for row in cells[1:]:
        for heading, cell in zip(cells[0], row, strict=True):
            console.print(f"{heading}: {cell}", markup=False, highlight=False)
        console.print()
