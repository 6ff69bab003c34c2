"""Tables of facts in Markdown, and the answers that follow from them."""

import pathlib
import re
from collections.abc import Sequence

Row = dict[str, str]
UNDECIDED, NONE = "-", "none"
"""Cells: the class does not decide the property; nothing that can be asked for is true."""


def read_tables(path: pathlib.Path) -> dict[str, list[Row]]:
    """Returns heading to the rows of the table below it, each with its columns by name."""
    tables = {}
    for section in path.read_text(encoding="utf-8").split("\n## ")[1:]:
        lines = [line for line in section.splitlines() if line.startswith("|")]
        header, _, *body = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
        rows = [dict(zip(header, cells, strict=True)) for cells in body]
        tables[section.split("\n", 1)[0]] = rows
    return tables


def values(cell: str) -> tuple[str, ...]:
    """Returns everything that a cell says is true."""
    return () if cell in (UNDECIDED, NONE) else tuple(part.strip() for part in cell.split(";"))


class Meanings:
    """Meanings of the questions of one source: what each asks for, by its exact words."""

    def __init__(self, rows: Sequence[Row], source: str, region: str = "") -> None:
        self.rows = [
            row | {"question": row["question"].replace("{region}", region)}
            for row in rows
            if row["sources"] == "all" or source in re.split(", *", row["sources"])
        ]
        self.known: dict[str, tuple[Row, str | None]] = {
            row["question"]: (row, None) for row in self.rows
        }
        self.with_value = [
            (row, *row["question"].split("{value}"))
            for row in self.rows
            if "{value}" in row["question"]
        ]

    def of(self, question: str) -> tuple[Row, str | None]:
        """Returns (meaning, value asked about); None in a question that names no value."""
        if question not in self.known:
            found = [
                (row, question[len(start) : len(question) - len(end)])
                for row, start, end in self.with_value
                if question.startswith(start) and question.endswith(end)
            ]
            assert len(found) == 1, f"write the meaning of {question!r} into the table of questions"
            self.known[question] = found[0]
        return self.known[question]


def answer(value: str | None, cell: str) -> str:
    """Returns the right answer to a question about a property, from the property's cell."""
    assert cell != UNDECIDED, "the label does not decide what is asked"
    true = values(cell)
    if value is None:
        return true[0]
    return "yes" if without_article(value) in true else "no"


def without_article(name: str) -> str:
    """Returns "nodule" for "a nodule"."""
    return re.sub("^an? ", "", name)
