"""Tables of intervals as Markdown, LaTeX and CSV, text escaped as each format needs."""

import csv
import dataclasses
import io
import math
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from f3ocus_jax.report import text_table
from f3ocus_jax.sweep.intervals import Interval
from tfds_medvqa.common.printable import printable

NOTHING = "–"
"""Cell without a value."""

MARKS = {"": "", "same": "†", "untested": "‡"}
"""Marks of a value: not separated from the reference, not tested."""

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "³": r"$^{3}$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "[": "{[}",  # an argument of the end of the row before
    "*": "{*}",
    "<": "$<$",
    ">": "$>$",
    "|": "$|$",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}

_FORMULA = re.compile(r"^[=+\-@\t\r]")
"""First characters with which a spreadsheet takes a text for a formula."""


@dataclasses.dataclass(frozen=True)
class Number:
    """Value of a table, with or without an interval.

    Attributes:
      value: Interval; one without ends is shown as its mean.
      factor: Factor to the unit of the column, as 100 for percent.
      digits: Digits after the point; None for four significant ones.
      best: True for the best of its column.
      mark: Key of `MARKS`.
    """

    value: Interval
    factor: float = 1.0
    digits: int | None = 1
    best: bool = False
    mark: str = ""

    def parts(self) -> tuple[str, str]:
        """Returns the mean and the half-width as text, "" for one that is unknown."""
        return self._format(self.value.mean), self._format(self.value.half_width)

    def _format(self, value: float) -> str:
        if math.isnan(value):
            return ""
        number = self.factor * value
        text = f"{number:.4g}" if self.digits is None else f"{number:.{self.digits}f}"
        return f"{number:.0f}" if "e+" in text else text


Cell = Number | str


@dataclasses.dataclass(frozen=True)
class Table:
    """Table of a report.

    Attributes:
      name: Name of its files.
      title: Heading in the report.
      header: Headings of the columns; the first is that of the rows' names.
      rows: Cells of each row.
      notes: Sentences below the table.
    """

    name: str
    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = ()


def markdown(table: Table) -> str:
    """Formats a table as Markdown with its notes."""
    rows = [
        [text_table.escape_markdown(heading) for heading in table.header],
        [":--", *["--:"] * (len(table.header) - 1)],
        *([_markdown_cell(cell) for cell in row] for row in table.rows),
    ]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return "\n\n".join([lines, *map(text_table.escape_markdown, table.notes)]) + "\n"


def plain_cells(table: Table) -> list[list[str]]:
    """Returns a table as text without markup, heading first, as a terminal shows it."""
    return [list(table.header), *([_plain_cell(cell) for cell in row] for row in table.rows)]


def latex(table: Table) -> str:
    """Formats a table as LaTeX: a tabular with rules of the package booktabs, and its notes."""
    rows = [[_latex_cell(cell) for cell in row] for row in table.rows]
    lines = [
        f"% {printable(table.title)}; needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
        "\\toprule",
        " & ".join(map(escape_latex, table.header)) + r" \\",
        "\\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        "\\bottomrule",
        "\\end{tabular}",
        *(f"\\par {escape_latex(note)}" for note in table.notes),
    ]
    return "\n".join(lines) + "\n"


def comma_separated(table: Table) -> str:
    """Formats a table as CSV: for each column of numbers mean, ends of the interval, n and mark.

    Numbers have all their digits and the unit of the heading.
    """
    wide = [
        any(isinstance(row[index], Number) for row in table.rows)
        for index in range(len(table.header))
    ]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    heads = [
        [f"{name}{part}" for part in ("", " low", " high", " n", " note")] if numeric else [name]
        for name, numeric in zip(table.header, wide, strict=True)
    ]
    writer.writerow([_plain(cell) for group in heads for cell in group])
    for row in table.rows:
        writer.writerow(
            [text for cell, w in zip(row, wide, strict=True) for text in _csv_cell(cell, w)]
        )
    return file.getvalue()


FORMATS = {"md": markdown, "tex": latex, "csv": comma_separated}
"""Formats by the end of a file's name."""


def write_all(table: Table, folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes a table in every format.

    Args:
      table: The table.
      folder: Output folder; created if absent.

    Returns:
      The files written.
    """
    directory = pathlib.Path(folder)
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, to_text in FORMATS.items():
        path = directory / f"{table.name}.{ending}"
        text = to_text(table)
        path.write_bytes(text.encode("utf-8", "backslashreplace"))
        written.append(path)
    return written


def span(counts: Iterable[int]) -> str:
    """Writes the least and the most of some counts, of which there is one at least.

    >>> span([5, 5]), span([5, 3, 4])
    ('5', '3 to 5')
    """
    known = set(counts)
    least, most = min(known), max(known)
    return f"{least}" if least == most else f"{least} to {most}"


def escape_latex(text: str) -> str:
    """Escapes what LaTeX would act on."""
    return "".join(_LATEX.get(character, character) for character in printable(text))


def _plain_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell or NOTHING
    mean, half = cell.parts()
    return f"{mean or NOTHING}{f' ± {half}' if half else ''} {MARKS[cell.mark]}".rstrip()


def _markdown_cell(cell: Cell) -> str:
    if isinstance(cell, str) or not cell.best:
        return text_table.escape_markdown(_plain_cell(cell))
    shown = _plain_cell(dataclasses.replace(cell, mark=""))
    return f"**{shown}** {MARKS[cell.mark]}".rstrip()


def _latex_cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return escape_latex(cell or NOTHING)
    mean, half = cell.parts()
    if not mean:
        return escape_latex(NOTHING)
    shown = f"\\textbf{{{escape_latex(mean)}}}" if cell.best else escape_latex(mean)
    width = f" {escape_latex('±')} {half}" if half else ""
    return f"{shown}{width}{escape_latex(MARKS[cell.mark])}"


def _csv_cell(cell: Cell, wide: bool) -> list[str]:
    if isinstance(cell, str):
        return [_plain(cell)] + [""] * (4 if wide else 0)
    numbers = [cell.value.mean, cell.value.low, cell.value.high]
    shown = ["" if math.isnan(number) else repr(cell.factor * number) for number in numbers]
    notes = {"": "", "same": "not separated from the reference", "untested": "not tested"}
    note = "; ".join(filter(None, [notes[cell.mark], cell.value.reason]))
    return [*shown, str(cell.value.n), _plain(note)]


def _plain(text: str) -> str:
    """Returns one line that a spreadsheet takes for text."""
    line = printable(text)
    return f"'{line}" if _FORMULA.match(line) else line
