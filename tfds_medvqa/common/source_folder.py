"""Lookup of source files that a user has downloaded, and errors for missing ones."""

import csv
import dataclasses
import gzip
import json
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from tfds_medvqa.common.errors import BuildError

SEARCH_DEPTH = 3
"""Depth of sub-folders to search, since archives unpack into their own folders."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Origin of a dataset.

    Attributes:
      title: Common name of the dataset.
      address: URL of the page to download it from.
      licence: Licence or terms of use.
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
          name: Name of the file, or the end of its path as in "imgs/xmlab0/source.jpg"; case is
            ignored, since repackaged releases differ in it.

        Returns:
          Its path: in the folder itself, or in the first sub-folder by name that has it.

        Raises:
          BuildError: if it is absent; the message says where to obtain it.
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
        """Returns the error for a missing file or folder."""
        where = f"in {self._root}" if self._root else "in any folder: no manual_dir was given"
        origin = self._origin
        return BuildError(
            f"{origin.title}: {name} is not {where}; get it from {origin.address} (licence: "
            f"{origin.licence}) and give its folder as manual_dir"
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
    """Follows a path from a folder, ignoring case where no name matches exactly."""
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
    """Reads text in UTF-8 or, as in some releases, Windows-1252."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def read_json(path: pathlib.Path) -> Any:
    """Reads a JSON file.

    Raises:
      BuildError: if it is not a JSON file.
    """
    try:
        return json.loads(read_text(path))
    except ValueError as error:
        raise BuildError(f"{path}: is not a JSON file ({error})") from error


def read_piped(path: pathlib.Path, columns: int) -> list[list[str]]:
    """Reads lines of fields separated by bars, the format of ImageCLEF's releases.

    Args:
      path: Path of the file.
      columns: Number of fields per line; the last one may contain bars.

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
