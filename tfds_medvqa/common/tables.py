"""Reading of text files, JSON files and tables, whatever the locale, as rows to be checked."""

import csv
import gzip
import io
import json
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.placeholders import LONGEST_HEAD, placeholder
from tfds_medvqa.common.rows import Row

GZIP = b"\x1f\x8b"
UTF_8 = ("utf-8-sig", "surrogatepass")
"""Codec, with or without a byte order mark, and its treatment of halves of surrogate pairs."""


def read_text(path: pathlib.Path) -> str:
    """Reads text in UTF-8 or, as in some releases, Windows-1252.

    Halves of surrogate pairs stay in the text, so that the row that holds one can be refused.

    Raises:
      BuildError: if it is neither.
    """
    content = _read(path)
    try:
        return content.decode(*UTF_8)
    except UnicodeDecodeError:
        return _decode(path, content, ("cp1252", "strict"), "UTF-8 or Windows-1252")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file in UTF-8.

    Raises:
      BuildError: if it is not a JSON file.
    """
    text = _decode(path, _read(path), UTF_8, "UTF-8")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise BuildError(f"{path}: is nested too deeply for a JSON file of a dataset") from error
    except ValueError as error:
        raise BuildError(f"{path}: is not a JSON file ({error})") from error


def json_rows(path: pathlib.Path) -> list[Row]:
    """Reads the entries of a JSON file that holds a list.

    Raises:
      BuildError: if it is not a JSON file, or holds no list.
    """
    content = read_json(path)
    if not isinstance(content, list):
        raise BuildError(f"{path}: holds no list of entries")
    return [Row(f"{path}: entry {number}", entry) for number, entry in enumerate(content)]


def piped_rows(path: pathlib.Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yields lines of fields separated by bars, the format of ImageCLEF's releases.

    Args:
      path: Path of the file.
      columns: Names of the fields; the last one may contain bars.

    Yields:
      Every line that is not blank; one with fewer fields cannot be used.

    Raises:
      BuildError: if the file is no text.
    """
    for number, line in enumerate(io.StringIO(read_text(path), newline=None), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("|", len(columns) - 1)]
        problem = ""
        if len(fields) < len(columns):
            problem = f"has {len(fields)} fields between bars, expected {len(columns)}"
        yield Row(f"{path}, line {number}", dict(zip(columns, fields, strict=False)), problem)


def table_rows(path: pathlib.Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a CSV file in UTF-8, which may be compressed with gzip.

    Args:
      path: Path of the file.
      columns: Names of the columns that it must have.

    Raises:
      BuildError: if a column is missing, or the file is no table.
    """
    with path.open("rb") as file:
        head = file.read(LONGEST_HEAD)
    if instead := placeholder(head):
        raise BuildError(f"{path}: cannot be read as a table ({instead})")
    opener = gzip.open if head.startswith(GZIP) else open
    try:
        encoding, errors = UTF_8
        with opener(path, "rt", encoding=encoding, errors=errors, newline="") as text:
            rows = csv.DictReader(text)
            absent = [name for name in columns if name not in (rows.fieldnames or ())]
            if absent:
                raise BuildError(
                    f"{path}: column {absent[0]!r} is missing; it has {rows.fieldnames}"
                )
            for row in rows:
                fits = None not in row and None not in row.values()
                problem = "" if fits else f"has not as many fields as the header, {len(row)}"
                yield Row(f"{path}, line {rows.line_num}", row, problem)
    except UnicodeDecodeError as error:
        raise BuildError(f"{path}: is no text in UTF-8 ({error}); save it as UTF-8") from error
    except (csv.Error, EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BuildError(f"{path}: cannot be read as a table ({error})") from error


def _read(path: pathlib.Path) -> bytes:
    """Reads a file, which may be compressed with gzip."""
    content = path.read_bytes()
    if content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise BuildError(f"{path}: cannot be decompressed ({error})") from error
    instead = placeholder(content)
    if instead and content:
        raise BuildError(f"{path}: cannot be read ({instead})")
    return content


def _decode(path: pathlib.Path, content: bytes, codec: tuple[str, str], expected: str) -> str:
    try:
        return content.decode(*codec)
    except UnicodeDecodeError as error:
        raise BuildError(
            f"{path}: byte {error.start} is {content[error.start]:#04x}, which is no text in "
            f"{expected}; save the file as UTF-8"
        ) from error
