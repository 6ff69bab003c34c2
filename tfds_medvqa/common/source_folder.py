"""Lookup of source files that a user has downloaded, and errors for missing ones."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.folder_index import FolderIndex, is_added_by_macos
from tfds_medvqa.common.rows import Made, ReadOptions, Reason, Row, RowCheck, RowError, Source
from tfds_medvqa.common.source_images import SourceImage, find_inside, is_relative

PACKED = ".gz"
"""Suffix of a compressed table, of which releases and their copies have either form."""


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
        self._index = FolderIndex(root)
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
          Its path: in the folder itself, or in the first sub-folder by name that has it; or that
          of the same file in the other form, compressed with gzip or not.

        Raises:
          BuildError: if it is absent; the message says where to obtain it.
        """
        for each in (name, *others):
            other = each.removesuffix(PACKED) if each.endswith(PACKED) else f"{each}{PACKED}"
            for form in (each, other):
                if found := self._index.find(form, os.path.isfile):
                    self.used.add(found[1])
                    return found[1]
        raise self.missing(name)

    def folder(self, name: str) -> pathlib.Path:
        """Finds a sub-folder, as `file` finds a file."""
        found = self._index.find(name, os.path.isdir)
        if found is None:
            raise self.missing(f"folder {name}")
        return found[1]

    def listed(self, folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
        """Finds all files of a folder whose names match a pattern, compressed with gzip or not."""
        paths = sorted([*listed(folder, pattern), *listed(folder, f"{pattern}{PACKED}")])
        self.used.update(paths)
        return paths

    def folder_of(self, name: str) -> pathlib.Path | None:
        """Finds the folder that holds a file which a row names; None if there is none."""
        found = self._index.find(name) if is_relative(name) else None
        return found[0] if found else None

    def named_file(
        self,
        row: Row,
        name: str,
        folder: pathlib.Path | None = None,
        origin: Origin | None = None,
    ) -> pathlib.Path:
        """Finds a file that a row names.

        Args:
          row: Row that names it.
          name: Path of the file from the folder.
          folder: Folder in which it must lie; None to search for it as `file` does.
          origin: Origin of the file; None for that of the dataset.

        Raises:
          RowError: if it is absent, or its path or a link leaves the folder.
        """
        base, inside = folder or self._root, name
        if folder is None and is_relative(name) and (found := self._index.find(name)):
            base, inside = found[0], found[1].relative_to(found[0]).as_posix()
        path = find_inside(row, base, inside) if base else None
        if path is None:
            told = f"{folder.name}/{name}" if folder else name
            raise RowError(Reason.ABSENT_FILE, f"{self.missing(told, origin)} ({row.where})")
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

    def missing(self, name: str, origin: Origin | None = None) -> BuildError:
        """Returns the error for a missing file or folder; the arguments are `named_file`'s."""
        where = f"in {self._root}" if self._root else "in any folder: no manual_dir was given"
        origin = origin or self._origin
        return BuildError(
            f"{origin.title}: {name} is not {where}; get it from {origin.address} (licence: "
            f"{origin.licence}) and give its folder as manual_dir"
        )


def listed(folder: pathlib.Path, pattern: str = "*") -> list[pathlib.Path]:
    """Returns a folder's entries by name, without those that macOS adds to archives."""
    found = (path for path in folder.glob(pattern) if not is_added_by_macos(path.name))
    return sorted(found)
