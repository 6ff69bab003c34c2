"""Files of questions about images, CSV or JSON lines, that belong to no dataset."""

import csv
import io
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from f3ocus_jax.errors import DataError

QUESTION, IMAGE = "question", "image"
"""Columns of a CSV file, or keys of a JSON object; the image may be absent."""

ENDINGS = (".csv", ".jsonl")


class Asked(NamedTuple):
    """A question about an image.

    Attributes:
      image: Path of the image.
      question: Text of the question.
    """

    image: pathlib.Path
    question: str


def read_questions(path: pathlib.Path, image: pathlib.Path | None) -> list[Asked]:
    """Reads the questions of a file.

    Args:
      path: A CSV file with a heading, or a file with a JSON object per line, both in UTF-8.
      image: Image of the rows that name none; None if every row must name one. Names of images
        are relative to the folder of the file.

    Returns:
      The questions, in the order of the file.

    Raises:
      DataError: If the file is of another kind, holds no question, or a row cannot be used; names
        the row.
      FileNotFoundError: If there is no such file.
    """
    if path.suffix.lower() not in ENDINGS:
        raise DataError(f"{path}: questions must be in a file {' or '.join(ENDINGS)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = _csv_rows(text) if path.suffix.lower() == ".csv" else _json_rows(text)
        found = [_asked(row, f"{path}, row {place}", path.parent, image) for place, row in rows]
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError) as error:
        raise DataError(f"{path} cannot be read as {path.suffix}: {error}") from error
    if not found:
        raise DataError(f"{path} holds no question")
    return found


def _csv_rows(text: str) -> Iterator[tuple[int, Any]]:
    yield from enumerate(csv.DictReader(io.StringIO(text, newline=""), strict=True), start=1)


def _json_rows(text: str) -> Iterator[tuple[int, Any]]:
    for place, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield place, json.loads(line)


def _asked(row: Any, where: str, folder: pathlib.Path, image: pathlib.Path | None) -> Asked:
    cells = row if isinstance(row, Mapping) else {}
    question, name = cells.get(QUESTION), cells.get(IMAGE) or ""
    if not isinstance(question, str) or not question.strip():
        raise DataError(f"{where}: no text under {QUESTION!r}")
    if not isinstance(name, str) or not (name or image):
        raise DataError(f"{where}: no name under {IMAGE!r}, and no image is given for all")
    return Asked(folder / name if name else pathlib.Path(image or ""), question)
