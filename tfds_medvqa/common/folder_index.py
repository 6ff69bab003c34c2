"""Index of a folder: every sub-folder is read once, however many files are looked up."""

import os
import pathlib
from collections.abc import Callable, Sequence

from tfds_medvqa.common.file_names import as_text, on_disk

SEARCH_DEPTH = 3
"""Depth of sub-folders to search, since archives unpack into their own folders."""

MIRROR = "physionet.org"
"""Folder that wget makes of PhysioNet, with files/NAME/VERSION in it: depth counts anew there."""

Found = tuple[pathlib.Path, pathlib.Path]
Level = list[tuple[pathlib.Path, int]]
"""Folders in the order of search, and how many levels of sub-folders of each are searched."""


class FolderIndex:
    """Finds files and folders by the ends of their paths, in any case.

    Levels of sub-folders are read one after the other, when nothing is found in those above.

    Args:
      root: The folder; None finds nothing.
    """

    def __init__(self, root: pathlib.Path | None) -> None:
        self._root = root
        self._levels: list[Level] = [[] if root is None else [(root, SEARCH_DEPTH)]]
        self._holders: list[dict[str, list[pathlib.Path]]] = []
        self._listings: dict[pathlib.Path, dict[str, str]] = {}

    def find(self, name: str, wanted: Callable[[str], bool] = os.path.exists) -> Found | None:
        """Finds the first place to which a path leads.

        Args:
          name: End of a path, as in "imgs/xmlab0/source.jpg".
          wanted: Function of a path that tells files from folders.

        Returns:
          The folder from which the path leads there, and the place: from the folder itself, or else
          from the sub-folder that comes first, by depth and then by name. At one depth a place of
          the exact name precedes those whose names differ in case.
        """
        parts = pathlib.PurePosixPath(on_disk(name)).parts
        if not parts:
            return (self._root, self._root) if self._root else None
        depth = 0
        while (holders := self._holders_at(depth)) is not None:
            folders = holders.get(_key(parts[0]), ())
            for follow in (_exact, self._in_any_case):
                for folder in folders:
                    path = follow(folder, parts)
                    if path is not None and wanted(str(path)):
                        return folder, path
            depth += 1
        return None

    def _holders_at(self, depth: int) -> dict[str, list[pathlib.Path]] | None:
        """Returns the folders of a level by what they hold, in lower case; None below all."""
        if depth == len(self._holders):
            if depth == len(self._levels):
                self._levels.append(self._below(self._levels[-1]))
            if not self._levels[depth]:
                return None
            holders: dict[str, list[pathlib.Path]] = {}
            for folder, _ in self._levels[depth]:
                for key in self._listing(folder):
                    holders.setdefault(key, []).append(folder)
            self._holders.append(holders)
        return self._holders[depth]

    def _below(self, level: Level) -> Level:
        """Returns the sub-folders of a level's folders."""
        return [
            (sub, SEARCH_DEPTH if sub.name == MIRROR else depth - 1)
            for folder, depth in level
            for sub in listed_folders(folder)
            if depth > 0 or sub.name == MIRROR
        ]

    def _listing(self, folder: pathlib.Path) -> dict[str, str]:
        """Returns the names in a folder by their lower case; the first of several."""
        if folder not in self._listings:
            names = sorted(entry.name for entry in _entries(folder))
            self._listings[folder] = {_key(name): name for name in reversed(names)}
        return self._listings[folder]

    def _in_any_case(self, folder: pathlib.Path, parts: Sequence[str]) -> pathlib.Path | None:
        for part in parts:
            name = self._listing(folder).get(_key(part))
            if name is None:
                return None
            folder = folder / name
        return folder


def is_added_by_macos(name: str) -> bool:
    """Returns True for __MACOSX and ._*, which hold no data."""
    return name == "__MACOSX" or name.startswith("._")


def listed_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns a folder's sub-folders by name, without those that macOS adds to archives."""
    return sorted(folder / entry.name for entry in _entries(folder) if entry.is_dir())


def _entries(folder: pathlib.Path) -> list[os.DirEntry[str]]:
    """Returns what lies in a folder; nothing in what is no folder or cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not is_added_by_macos(entry.name)]
    except OSError:
        return []


def _exact(folder: pathlib.Path, parts: Sequence[str]) -> pathlib.Path | None:
    path = folder.joinpath(*parts)
    return path if os.path.lexists(path) else None


def _key(name: str) -> str:
    return as_text(name).lower()
