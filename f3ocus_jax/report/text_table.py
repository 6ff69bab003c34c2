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

SHORT_NAME = 16
"""Characters of a name on narrow terminals; the middle of a longer one is left out."""

LONGEST_NAME = 60
"""Characters of a cell on a terminal; the middle of a longer one is left out."""

_MARKED_UP = re.compile(r"[\\`*\[\]<>|~&$]")
"""Characters that Markdown or HTML in it gives a meaning anywhere in a line."""


def print_cells(cells: Cells, console: Console, cuts: Sequence[int] = ()) -> None:
    """Prints a table in one piece, in several, or as a list, depending on the width.

    Args:
      cells: Table to print.
      console: Console to print to.
      cuts: Indices of the columns before which the table may be split, the most useful cut first;
        every piece has the names.
    """
    cells = [[printable(cell, LONGEST_NAME) for cell in row] for row in cells]
    short = [[printable(row[0], SHORT_NAME), *row[1:]] for row in cells]
    layouts = [_split(cells, cuts[:used]) for used in range(len(cuts) + 1)]
    if len({row[0] for row in short}) == len({row[0] for row in cells}):
        layouts.append(_split(short, cuts))
    for pieces in layouts:
        tables = [_rich_table(piece) for piece in pieces]
        if all(_least_width(table, console) <= console.width for table in tables):
            console.print(*tables, sep="\n")
            return
    _print_list(cells, console)


def _split(cells: Cells, cuts: Sequence[int]) -> list[Cells]:
    """Splits a table before some of its columns and repeats the names."""
    edges = [1, *sorted(cuts), len(cells[0])]
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


def _rich_table(cells: Cells) -> Table:
    """Makes a table of which no cell is wrapped, and every word of a heading has its own line."""
    table = Table()
    table.add_column(Text(cells[0][0]), no_wrap=True)
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
