"""Record of what a build was made of: its source files, the decoder and the page of images."""

import json
import pathlib
from collections.abc import Iterable

from tfds_medvqa.common.file_names import as_text, on_disk

FILE = "source_files.json"

DECODER = 1
"""Version of the decoder of images; increased whenever it gives other pixels, so that datasets are
built again."""


def write(
    folder: pathlib.Path, root: pathlib.Path, paths: Iterable[pathlib.Path], image_page: int = 0
) -> None:
    """Writes the record of a build.

    Args:
      folder: Folder of the build.
      root: Folder of the source files.
      paths: The files that were read, all below `root`.
      image_page: Page of images that have several, from 1; 0 if they were refused.
    """
    files = {
        as_text(path.relative_to(root).as_posix()): _state(path) for path in sorted(set(paths))
    }
    record = {"decoder": DECODER, "image_page": image_page, "files": files}
    (folder / FILE).write_text(json.dumps(record, indent=0), encoding="utf-8")


def change_of(
    folder: pathlib.Path, root: pathlib.Path | None = None, image_page: int = 0
) -> str | None:
    """Returns what has changed since a dataset was built.

    Args:
      folder: Folder of a build that is whole.
      root: Folder of the source files; None if the user gave none.
      image_page: Page of images that have several.

    Returns:
      None if nothing has, or if the record is absent. Without the folder of the source files, the
      page alone is compared: a build can be used without the files that it was made of.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(record.get("files"), dict):  # of a version that recorded the files alone
        record = {"decoder": 0, "image_page": 0, "files": record}
    if record["image_page"] != image_page:
        return f"{folder} was built with image_page = {record['image_page']}, not {image_page}"
    if root is None or not root.is_dir():
        return None
    if record["decoder"] != DECODER:
        return f"{folder} was built with an earlier decoder of images"
    for name, state in record["files"].items():
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
