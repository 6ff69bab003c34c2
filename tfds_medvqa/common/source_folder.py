"""Lookup of source files that a user has downloaded, and errors for missing ones."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterable, Iterator, Sequence

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.rows import Made, ReadOptions, Reason, Row, RowCheck, RowError, Source
from tfds_medvqa.common.source_images import SourceImage, find_inside, is_relative

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
    """The folder given as manual_dir, and the check of the rows in its files.

    Attributes:
      check: Check of the rows.
      used: Files that were found so far.
    """

    def __init__(
        self,
        root: pathlib.Path | None,
        origin: Origin,
        options: ReadOptions = ReadOptions(),  # noqa: B008 (immutable)
    ) -> None:
        self._root = root
        self._origin = origin
        self.check = RowCheck(options)
        self.used: set[pathlib.Path] = set()

    @property
    def root(self) -> pathlib.Path | None:
        """The folder; None if the user gave none."""
        return self._root

    def each(self, rows: Iterable[Source], make: Callable[[Source], Made | None]) -> Iterator[Made]:
        """Yields what is made of every row; see `RowCheck.each`."""
        return self.check.each(rows, make)

    def file(self, name: str, *others: str) -> pathlib.Path:
        """Finds a file.

        Args:
          name: Name of the file, or the end of its path as in "imgs/xmlab0/source.jpg"; case is
            ignored, since repackaged releases differ in it.
          others: Names that it has in other releases.

        Returns:
          Its path: in the folder itself, or in the first sub-folder by name that has it.

        Raises:
          BuildError: if it is absent; the message says where to obtain it.
        """
        for each in (name, *others):
            _, path = self._find(each)
            if path is not None and path.is_file():
                self.used.add(path)
                return path
        raise self.missing(name)

    def folder(self, name: str) -> pathlib.Path:
        """Finds a sub-folder, as `file` finds a file."""
        _, path = self._find(name)
        if path is None or not path.is_dir():
            raise self.missing(f"folder {name}")
        return path

    def listed(self, folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
        """Finds all files of a folder whose names match a pattern, as `listed` does."""
        paths = listed(folder, pattern)
        self.used.update(paths)
        return paths

    def folder_of(self, name: str) -> pathlib.Path | None:
        """Finds the folder that holds a file which a row names; None if there is none."""
        folder, _ = self._find(name) if is_relative(name) else (None, None)
        return folder

    def named_file(self, row: Row, name: str, folder: pathlib.Path | None = None) -> pathlib.Path:
        """Finds a file that a row names.

        Args:
          row: Row that names it.
          name: Path of the file from the folder.
          folder: Folder in which it must lie; None to search for it as `file` does.

        Raises:
          RowError: if it is absent, or its path or a link leaves the folder.
        """
        base = folder or self.folder_of(name) or self._root
        path = find_inside(row, base, name) if base else None
        if path is None:
            told = f"{folder.name}/{name}" if folder else name
            raise RowError(Reason.ABSENT_FILE, f"{self.missing(told)} ({row.where})")
        self.used.add(path)
        return path

    def image(
        self,
        row: Row,
        name: str,
        folder: pathlib.Path | None = None,
        shorter_side: int = 0,
    ) -> SourceImage:
        """Finds an image that a row names, as `named_file` does; it is read later."""
        return SourceImage(self.named_file(row, name, folder), row.where, shorter_side)

    def missing(self, name: str) -> BuildError:
        """Returns the error for a missing file or folder."""
        where = f"in {self._root}" if self._root else "in any folder: no manual_dir was given"
        origin = self._origin
        return BuildError(
            f"{origin.title}: {name} is not {where}; get it from {origin.address} (licence: "
            f"{origin.licence}) and give its folder as manual_dir"
        )

    def _find(self, name: str) -> tuple[pathlib.Path | None, pathlib.Path | None]:
        """Returns the first folder from which a path leads to something, and where it leads."""
        level = [] if self._root is None else [self._root]
        parts = pathlib.PurePosixPath(name).parts
        for _ in range(SEARCH_DEPTH + 1):
            for folder in level:
                path = _descend(folder, parts)
                if path is not None:
                    return folder, path
            level = [sub for folder in level for sub in listed(folder) if sub.is_dir()]
        return None, None


def listed(folder: pathlib.Path, pattern: str = "*") -> list[pathlib.Path]:
    """Returns a folder's entries by name, without those that macOS adds to archives."""
    found = (path for path in folder.glob(pattern) if not is_added_by_macos(path.name))
    return sorted(found)


def is_added_by_macos(name: str) -> bool:
    """Returns True for __MACOSX and ._*, which hold no data."""
    return name == "__MACOSX" or name.startswith("._")


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
