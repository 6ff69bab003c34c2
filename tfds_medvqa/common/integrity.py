"""Manifests: size and checksum of every file of a folder, written last and checked when read.

The checksums find damage, not intent: whoever can change a file can change the manifest, too.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import xxhash
from etils import epath

from tfds_medvqa.common.errors import DamagedError

MANIFEST = "f3ocus_manifest.json"
PARTIAL = f".{MANIFEST}.partial"

ALGORITHM = "xxh3_128"
"""Checksum of new manifests; every entry names its own, so that older manifests are still read."""

ALGORITHMS: Mapping[str, Callable[[], Any]] = {
    "xxh3_128": xxhash.xxh3_128,
    "sha256": hashlib.sha256,
}

Entries = Mapping[str, Mapping[str, Any]]
"""Path relative to the folder to size and checksum of the file."""


def write_manifest(folder: epath.PathLike, names: Iterable[str] | None = None) -> None:
    """Writes the manifest of a finished folder; a reader finds all of it or none.

    Args:
      folder: The folder, on any file system that epath takes.
      names: Paths relative to the folder that the manifest lists; every file if None.
    """
    folder = epath.Path(folder)
    names = files(folder) if names is None else sorted(names)
    entries = {name: _entry(folder / name) for name in names}
    partial = folder / PARTIAL
    partial.write_text(_text(entries), encoding="utf-8")
    partial.replace(folder / MANIFEST)


def remove_manifest(folder: epath.PathLike) -> None:
    """Removes the manifest of a folder whose files are about to change."""
    (epath.Path(folder) / MANIFEST).unlink(missing_ok=True)


def has_manifest(folder: epath.PathLike) -> bool:
    """Returns True if a folder has a manifest."""
    return (epath.Path(folder) / MANIFEST).exists()


def check_manifest(folder: epath.PathLike, names: Iterable[str] | None = None) -> Entries:
    """Reads every file that the manifest lists; files that it does not list are ignored.

    Args:
      folder: The folder.
      names: Listed files to read; all if None. The sizes of all are checked in any case.

    Returns:
      The files that the manifest lists.

    Raises:
      DamagedError: If the manifest is absent or damaged, or a file is absent or changed; one line
        that names the file.
    """
    folder = epath.Path(folder)
    entries = _read_entries(folder / MANIFEST)
    for name, entry in entries.items():
        path = folder / name
        if not path.is_file():
            raise DamagedError(f"{path} is missing, which {MANIFEST} lists")
        if (size := _size(path)) != entry["bytes"]:
            raise DamagedError(f"{path} is damaged: {size} bytes instead of {entry['bytes']}")
    for name in entries if names is None else names:
        if name in entries and not _has_checksum(folder / name, entries[name]):
            raise DamagedError(f"{folder / name} is damaged: its checksum is not in {MANIFEST}")
    return entries


def files(folder: epath.PathLike) -> list[str]:
    """Returns the paths of all files below a folder but its manifest's."""
    folder = epath.Path(folder)
    names: list[str] = []
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            if path.is_dir():
                waiting.append(path)
            else:
                names.append(path.relative_to(folder).as_posix())
    return sorted(set(names) - {MANIFEST, PARTIAL})


def checksum(path: epath.PathLike, algorithm: str = ALGORITHM) -> str:
    """Returns the checksum of a file, which is never in memory as a whole.

    Args:
      path: Path of the file.
      algorithm: One of `ALGORITHMS`.
    """
    with epath.Path(path).open("rb") as file:
        return hashlib.file_digest(file, ALGORITHMS[algorithm]).hexdigest()


def _entry(path: epath.Path) -> dict[str, Any]:
    return {"bytes": _size(path), ALGORITHM: checksum(path, ALGORITHM)}


def _size(path: epath.Path) -> int:
    """Returns the bytes of a file; epath's own `stat` fails for an owner who has no name."""
    is_remote = "://" in os.fspath(path)
    return path.stat().length if is_remote else os.stat(path).st_size


def _has_checksum(path: epath.Path, entry: Mapping[str, Any]) -> bool:
    (algorithm,) = entry.keys() - {"bytes"}
    if algorithm not in ALGORITHMS:
        raise DamagedError(
            f"{path} cannot be checked: its checksum in {MANIFEST} is {algorithm}, known are "
            f"{', '.join(ALGORITHMS)}; a newer version wrote it"
        )
    return checksum(path, algorithm) == entry[algorithm]


def _read_entries(path: epath.Path) -> Entries:
    """Returns path to size and checksum, after the manifest's own checksum was compared."""
    if not path.is_file():
        raise DamagedError(f"{path} is missing: the folder was not finished, or is an older one")
    try:
        text = path.read_text(encoding="utf-8")
        entries: Entries = json.loads(text)["files"]
        is_whole = text == _text(entries)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is no manifest") from error
    if not is_whole:
        raise DamagedError(f"{path} is damaged: it does not have its own checksum")
    return entries


def _text(entries: Entries) -> str:
    """Returns the content of a manifest: the entries, and a checksum of them."""
    own = hashlib.sha256(json.dumps(entries).encode()).hexdigest()
    return json.dumps({"sha256": own, "files": entries}, indent=1) + "\n"
