"""Manifest of a built dataset: written when its files are, checked before they are read.

It lists the files that TFDS wrote. Caches and locks in the same folder are not among them.
"""

import contextlib
import pathlib
import shutil
from collections.abc import Iterator

from tfds_medvqa.common import integrity
from tfds_medvqa.common.errors import BuildError, DamagedError

SHARDS = "*.array_record*"
"""Files of the examples; the others are small and describe them."""

ASIDE = ".damaged"
"""Suffix of a damaged build while it is made again."""


def seal(folder: pathlib.Path) -> None:
    """Writes the manifest of a build whose files are all written."""
    integrity.write_manifest(folder, _files(folder))


def check(folder: pathlib.Path, *, shards: bool) -> integrity.Entries:
    """Checks that a build is as it was written.

    Args:
      folder: Folder of the build.
      shards: True to read the files of examples too; their sizes are checked in any case.

    Returns:
      The files of the build.

    Raises:
      DamagedError: If a file is absent or changed; names it.
    """
    small = [name for name in _files(folder) if not pathlib.PurePath(name).match(SHARDS)]
    return integrity.check_manifest(folder, None if shards else small)


def damage_of(folder: pathlib.Path, *, shards: bool) -> str | None:
    """Returns what is wrong with a build, None for a whole one; the arguments are `check`'s."""
    try:
        check(folder, shards=shards)
    except DamagedError as error:
        return str(error)
    return None


def shards_of(folder: pathlib.Path) -> dict[str, str]:
    """Returns name to size and checksum of the files of examples, which identify a build."""
    entries = check(folder, shards=False)
    return {name: repr(entries[name]) for name in entries if pathlib.PurePath(name).match(SHARDS)}


@contextlib.contextmanager
def set_aside(folder: pathlib.Path, damage: str) -> Iterator[None]:
    """Sets a damaged build aside while a block makes it again; puts it back if the block fails.

    Args:
      folder: Folder of the build, whose lock the caller holds.
      damage: Damage of the build.

    Raises:
      BuildError: If the block raises one; names the damage, too.
    """
    aside = folder.with_name(folder.name + ASIDE)
    folder.rename(aside)
    try:
        yield
    except BuildError as error:
        raise BuildError(f"{damage}; it cannot be built again: {error}") from error
    finally:
        if folder.exists():
            shutil.rmtree(aside)
        else:
            aside.rename(folder)


def has_left(folder: pathlib.Path) -> bool:
    """Returns True if a process was killed between `set_aside` and its end."""
    return folder.with_name(folder.name + ASIDE).exists()


def recover(folder: pathlib.Path) -> None:
    """Ends what a killed process left of `set_aside`; needs the lock of the build."""
    aside = folder.with_name(folder.name + ASIDE)
    if aside.exists() and not folder.exists():
        aside.rename(folder)
    shutil.rmtree(aside, ignore_errors=True)


def _files(folder: pathlib.Path) -> list[str]:
    """Returns the names of a build's files, which are all at the top of its folder."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_file())
    return sorted(set(names) - {integrity.MANIFEST, integrity.PARTIAL})
