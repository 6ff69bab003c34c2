"""Record of the source files of a build, to notice that they have changed since."""

import json
import pathlib
from collections.abc import Iterable

from tfds_medvqa.common.file_names import as_text, on_disk

FILE = "source_files.json"


def write(folder: pathlib.Path, root: pathlib.Path, paths: Iterable[pathlib.Path]) -> None:
    """Writes the record of a build.

    Args:
      folder: Folder of the build.
      root: Folder of the source files.
      paths: The files that were read, all below `root`.
    """
    files = {
        as_text(path.relative_to(root).as_posix()): _state(path) for path in sorted(set(paths))
    }
    (folder / FILE).write_text(json.dumps(files, indent=0), encoding="utf-8")


def change_of(folder: pathlib.Path, root: pathlib.Path) -> str | None:
    """Returns which source file of a build has changed.

    Args:
      folder: Folder of a build that is whole.
      root: Folder of the source files.

    Returns:
      None if none has, or if the folder of the source files or the record is absent: a build can
      be used without the files that it was made of.
    """
    record = folder / FILE
    if not record.is_file() or not root.is_dir():
        return None
    for name, state in json.loads(record.read_text(encoding="utf-8")).items():
        path = root / on_disk(name)
        if not path.is_file():
            return f"{path} is gone since {folder} was built"
        if _state(path) != state:
            return f"{path} has changed since {folder} was built"
    return None


def _state(path: pathlib.Path) -> list[int]:
    """Returns the size of a file and its time of change, in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
