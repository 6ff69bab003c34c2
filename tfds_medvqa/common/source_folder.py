"""Where are the files that a user has downloaded, and what is said of one that is missing?"""

import csv
import dataclasses
import gzip
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from tfds_medvqa.common.errors import BuildError

SEARCH_DEPTH = 3
"""How many folders deep a file may lie: archives unpack into folders of their own."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a dataset is had.

    Attributes:
      title: its name, as people call it.
      address: of the page to get it from.
      licence: what it may be used for.
    """

    title: str
    address: str
    licence: str


class SourceFolder:
    """The folder given as manual_dir."""

    def __init__(self, root: pathlib.Path | None, origin: Origin) -> None:
        self._root = root
        self._origin = origin

    def file(self, name: str) -> pathlib.Path:
        """Finds a file.

        Args:
          name: of the file, or the end of its path as in "imgs/xmlab0/source.jpg"; upper and lower
            case are alike, since re-packed releases differ in it.

        Returns:
          Its path: in the folder itself, or in the first of its sub-folders by name.

        Raises:
          BuildError: if it is absent; says where it is had.
        """
        path = self._find(name)
        if path is None or not path.is_file():
            raise self.missing(name)
        return path

    def folder(self, name: str) -> pathlib.Path:
        """Finds a sub-folder, as `file` finds a file."""
        path = self._find(name)
        if path is None or not path.is_dir():
            raise self.missing(f"folder {name}")
        return path

    def missing(self, name: str) -> BuildError:
        """Returns the error for something that is not there."""
        where = f"in {self._root}" if self._root else "in any folder: no manual_dir was given"
        origin = self._origin
        return BuildError(
            f"{origin.title}: {name} is not {where}; get it from {origin.address} (licence: "
            f"{origin.licence}) and give the folder that holds it as manual_dir"
        )

    def _find(self, name: str) -> pathlib.Path | None:
        if self._root is None:
            return None
        parts = pathlib.PurePosixPath(name).parts
        level = [self._root]
        for _ in range(SEARCH_DEPTH + 1):
            for folder in level:
                path = _descend(folder, parts)
                if path is not None:
                    return path
            level = [sub for folder in level for sub in sorted(folder.iterdir()) if sub.is_dir()]
        return None


def _descend(folder: pathlib.Path, parts: Sequence[str]) -> pathlib.Path | None:
    """Follows a path from a folder, ignoring case where no name fits exactly."""
    exact = folder.joinpath(*parts)
    if exact.exists():
        return exact
    for part in parts:
        if not folder.is_dir():
            return None
        names = (entry for entry in folder.iterdir() if entry.name.lower() == part.lower())
        following = next(names, None)
        if following is None:
            return None
        folder = following
    return folder


def read_text(path: pathlib.Path) -> str:
    """Reads UTF-8, or Windows' Western encoding, in which some releases are written."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
      BuildError: if it is none.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise BuildError(f"{path}: is no JSON file ({error})") from error


def read_piped(path: pathlib.Path, columns: int) -> list[list[str]]:
    """Reads lines of fields with bars between, as ImageCLEF releases them.

    Args:
      path: of the file.
      columns: fields per line; the last one may hold bars.

    Returns:
      The fields of every line that is not blank, without spaces around them.

    Raises:
      BuildError: for a line with fewer fields.
    """
    rows = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("|", columns - 1)]
        if len(fields) < columns or not all(fields[:-1]):
            raise BuildError(
                f"{path}, line {number}: has {line.count('|') + 1} fields between bars, expected "
                f"{columns} ({line.strip()[:60]!r})"
            )
        rows.append(fields)
    return rows


def read_table(path: pathlib.Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file, which may be compressed with gzip, by column name.

    Raises:
      BuildError: if a column is missing.
    """
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        absent = [name for name in columns if name not in (rows.fieldnames or ())]
        if absent:
            raise BuildError(f"{path}: column {absent[0]!r} is missing; it has {rows.fieldnames}")
        yield from rows
