"""Rows of a user's tables, by what their columns hold."""

import codecs
import csv
import gzip
import io
import json
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.placeholders import placeholder
from tfds_medvqa.common.rows import Row
from tfds_medvqa.common.table_options import COLUMNS, TableOptions
from tfds_medvqa.common.tables import GZIP
from tfds_medvqa.files.layout import suffix_of

DELIMITERS = (",", ";", "\t")
"""Delimiters of CSV files; spreadsheets of many countries write semicolons."""

MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks, longer ones first, and the encodings that they say."""


def read_rows(path: pathlib.Path, options: TableOptions) -> Iterator[Row]:
    """Yields the rows of a table.

    Args:
      path: CSV, TSV, JSON lines, a JSON list, or Parquet; texts may be compressed with gzip.
      options: Names of the columns, and the encoding.

    Yields:
      Rows whose fields are keys of `COLUMNS`; other columns are left out.

    Raises:
      BuildError: if the file cannot be read, or lacks a column that `options` names.
    """
    suffix = suffix_of(path)
    if suffix == ".parquet":
        names, rows = _parquet_rows(path)
    elif suffix in (".jsonl", ".json"):
        names, rows = _json_rows(path, _read_text(path, options.encoding), lines=suffix == ".jsonl")
    else:
        text = _read_text(path, options.encoding)
        names, rows = _delimited_rows(path, text, None if suffix == ".csv" else "\t")
    kinds = _find_columns(path, names, options.columns)
    for row in rows:
        fields = row.fields
        if isinstance(fields, Mapping):
            fields = {kind: fields[name] for kind, name in kinds.items() if name in fields}
        yield Row(row.where, fields, row.problem)


def _find_columns(
    path: pathlib.Path, names: Sequence[str], given: Mapping[str, str]
) -> dict[str, str]:
    """Returns what columns hold to their names in a table."""
    by_lower = {name.strip().lower(): name for name in reversed(names)}
    found = {}
    for kind, known in COLUMNS.items():
        if kind in given:
            if given[kind] not in names:
                raise BuildError(
                    f"{path}: column {given[kind]!r}, which holds the {kind} as columns says, is "
                    f"absent; it has {', '.join(names)}"
                )
            found[kind] = given[kind]
            continue
        name = next((by_lower[each] for each in known if each in by_lower), None)
        if name is not None and name not in given.values():
            found[kind] = name
    if "image" not in found:
        raise BuildError(
            f"{path}: has no column {' or '.join(COLUMNS['image'])}; it has {', '.join(names)}; "
            "columns says which holds what"
        )
    return found


def _read_text(path: pathlib.Path, encoding: str) -> str:
    """Reads a text; half of a surrogate pair in it stays, so that its row can be refused."""
    try:
        content = path.read_bytes()
        if content.startswith(GZIP):
            content = gzip.decompress(content)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BuildError(f"{path}: cannot be decompressed ({error})") from error
    if instead := placeholder(content):
        raise BuildError(f"{path}: cannot be read as a table ({instead})")
    codec = codecs.lookup(encoding).name
    for mark, marked in MARKS.items():
        if content.startswith(mark) and not codec.startswith(marked):
            raise BuildError(f'{path}: is text in {marked}; say encoding = "{marked}"')
    try:
        if codec == "utf-8":
            return content.decode("utf-8-sig", "surrogatepass")
        return content.decode(codec)
    except UnicodeError as error:
        position = getattr(error, "start", 0)
        hint = f'if it is of Windows, say encoding = "{"utf-8" if codec == "cp1252" else "cp1252"}"'
        raise BuildError(
            f"{path}: byte {position} is no text in {encoding}; {hint}, or save it as UTF-8"
        ) from error


def _delimited_rows(
    path: pathlib.Path, text: str, delimiter: str | None
) -> tuple[list[str], Iterator[Row]]:
    """Returns the columns and the rows of a text of delimited fields."""
    # Line ends within quotes are the user's; csv itself ends rows at \n, \r and \r\n alone.
    header = text.lstrip("\r\n").partition("\n")[0]
    delimiter = delimiter or max(DELIMITERS, key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def rows() -> Iterator[Row]:
        try:
            for row in reader:
                fits = None not in row and None not in row.values()
                problem = "" if fits else f"has not as many fields as the header, {len(names)}"
                yield Row(f"{path}, line {reader.line_num}", row, problem)
        except csv.Error as error:
            raise BuildError(f"{path}, line {reader.line_num}: cannot be read ({error})") from error

    try:
        names = list(reader.fieldnames or ())
    except csv.Error as error:
        raise BuildError(f"{path}, line 1: cannot be read ({error})") from error
    if not names:
        raise BuildError(f"{path}: is empty")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BuildError(f"{path}: has the column {twice[0]!r} twice")
    return names, rows()


def _json_rows(path: pathlib.Path, text: str, *, lines: bool) -> tuple[list[str], Iterator[Row]]:
    """Returns the columns and the rows of a JSON list, or of lines of JSON."""
    rows = []
    try:
        if lines:
            numbered = enumerate(io.StringIO(text, newline=None), start=1)
            for number, line in numbered:
                if line.strip():
                    rows.append(Row(f"{path}, line {number}", json.loads(line)))
        else:
            entries = json.loads(text)
            if not isinstance(entries, list):
                raise BuildError(f"{path}: holds no list of entries")
            rows = [Row(f"{path}: entry {number}", entry) for number, entry in enumerate(entries)]
    except RecursionError as error:
        raise BuildError(f"{path}: is nested too deeply for a table") from error
    except ValueError as error:
        where = f"{path}, line {number}" if lines else f"{path}"
        raise BuildError(f"{where}: is no JSON ({error})") from error
    names = {name: None for row in rows if isinstance(row.fields, Mapping) for name in row.fields}
    if not names:
        raise BuildError(f"{path}: is empty")
    return list(names), iter(rows)


def _parquet_rows(path: pathlib.Path) -> tuple[list[str], Iterator[Row]]:
    """Returns the columns and the rows of a Parquet file, which may hold images themselves."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BuildError(f"{path}: cannot be read as Parquet ({_short(error)})") from error

    def rows() -> Iterator[Row]:
        number = 0
        try:
            for batch in file.iter_batches(batch_size=256):
                for fields in batch.to_pylist():
                    yield Row(f"{path}, row {number}", fields)
                    number += 1
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise BuildError(f"{path}, row {number}: cannot be read ({_short(error)})") from error

    return list(file.schema_arrow.names), rows()


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def is_given(fields: Mapping[str, Any], kind: str) -> bool:
    """Returns True if a row has a value in a column that it may leave blank."""
    value = fields.get(kind)
    return value is not None and value != ""
