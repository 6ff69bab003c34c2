"""Reading of Parquet files that hold questions with their images, as rows to be checked."""

import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow
from pyarrow import parquet

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.placeholders import LONGEST_HEAD, placeholder
from tfds_medvqa.common.rows import Reason, Row

ROWS_AT_ONCE = 64
NO_TEXT = "holds text that is not UTF-8"


def parquet_rows(
    paths: Iterable[pathlib.Path], columns: Sequence[str], part: str = ""
) -> Iterator[Row]:
    """Yields the rows of several files, numbered from 0 through all of them.

    Args:
      paths: Paths of the files.
      columns: Names of the columns that each must have.
      part: Words that follow a row's number in its name, as in " of split train".

    Raises:
      BuildError: if a file is no Parquet file, or a column is missing.
    """
    number = 0
    for path in paths:
        for fields in _read(path, columns):
            problem = "" if fields is not None else NO_TEXT
            yield Row(f"{path}: row {number}{part}", fields, problem)
            number += 1


def image_bytes(row: Row, column: str = "image") -> bytes:
    """Returns the encoded image that a row holds, as Hugging Face's datasets store it.

    Raises:
      RowError: if it holds none.
    """
    image = row.value(column)
    content = image.get("bytes") if isinstance(image, Mapping) else None
    if not isinstance(content, bytes):
        raise row.error(Reason.ABSENT_FILE, "holds no image")
    return content


def _read(path: pathlib.Path, columns: Sequence[str]) -> Iterator[Mapping[str, Any] | None]:
    """Yields the rows of a file; None for one whose text is not UTF-8."""
    with path.open("rb") as file:
        instead = placeholder(file.read(LONGEST_HEAD))
    if instead:
        raise BuildError(f"{path}: cannot be read as a Parquet file ({instead})")
    try:
        table = parquet.ParquetFile(path)
        absent = [name for name in columns if name not in table.schema_arrow.names]
        if absent:
            raise BuildError(f"{path}: column {absent[0]!r} is missing")
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=list(columns)):
            for number in range(batch.num_rows):
                try:
                    (fields,) = batch.slice(number, 1).to_pylist()
                except UnicodeDecodeError:
                    fields = None
                yield fields
    except (pyarrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise BuildError(f"{path}: cannot be read as a Parquet file ({reason})") from error
