"""Layout of a user's folder: its tables, and what their places say about hospital and split."""

import dataclasses
import pathlib

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.file_names import as_text
from tfds_medvqa.common.source_folder import listed

TEXT_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json")
SUFFIXES = (*TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in TEXT_SUFFIXES), ".parquet")
SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of splits, in lower case, and the splits that they mean."""

METADATA = "metadata"
"""Name without suffix of the table that Hugging Face puts beside images."""


@dataclasses.dataclass(frozen=True)
class SourceTable:
    """A table, and what its place says about its rows.

    Attributes:
      path: Path of the table; images are relative to its folder.
      name: Path from the user's folder without suffix, "" for the only table.
      hospital: Name of the folder of the hospital; None if the place names none.
      split: Split that its name or folder says; None if it says none.
    """

    path: pathlib.Path
    name: str = ""
    hospital: str | None = None
    split: str | None = None


def suffix_of(path: pathlib.Path) -> str:
    """Returns the suffix that tells a table's format, without that of compression; "" if none."""
    name = path.name.lower()
    suffix = next((suffix for suffix in SUFFIXES if name.endswith(suffix)), "")
    return suffix.removesuffix(".gz")


def find_tables(root: pathlib.Path) -> list[SourceTable]:
    """Finds the tables of a user's folder.

    A folder has one table; or one per split, named after it; or folders that have a table each,
    named after hospitals or splits.

    Args:
      root: The folder, or one table.

    Returns:
      The tables by name.

    Raises:
      BuildError: if there is no such table, or several whose names say nothing.
    """
    if root.is_file():
        if not suffix_of(root):
            raise BuildError(f"{root} is no table; choose one of {', '.join(SUFFIXES)}")
        return [SourceTable(root)]
    if not root.is_dir():
        raise BuildError(f"{root} is neither a folder nor a table")
    found = _in_folder(root) or _in_folders(root)
    if not found:
        raise BuildError(
            f"{root} holds no table ({', '.join(SUFFIXES)}) of images, questions and answers"
        )
    if len(found) == 1:
        return found
    named = []
    for table in found:
        relative = table.path.relative_to(root)
        name = relative.name[: relative.name.index(".")]
        named.append(dataclasses.replace(table, name=as_text(relative.with_name(name).as_posix())))
    return named


def _in_folder(folder: pathlib.Path) -> list[SourceTable]:
    """Returns the tables that lie in a folder itself."""
    paths = [path for path in listed(folder) if path.is_file() and suffix_of(path)]
    stems = {path: path.name[: path.name.index(".")].lower() for path in paths}
    metadata = [path for path in paths if stems[path] == METADATA]
    if len(metadata) == 1:
        paths = metadata
    if len(paths) == 1:
        return [SourceTable(paths[0], split=SPLITS.get(stems[paths[0]]))]
    if paths and all(stems[path] in SPLITS for path in paths):
        return [SourceTable(path, split=SPLITS[stems[path]]) for path in paths]
    if paths:
        names = ", ".join(path.name for path in paths)
        raise BuildError(
            f"{folder} holds several tables ({names}); name one of them, as in "
            f"files:{paths[0]}, or call them train, validation and test"
        )
    return []


def _in_folders(root: pathlib.Path) -> list[SourceTable]:
    """Returns the tables of the folders of hospitals, of splits, or of the splits of hospitals."""
    found = []
    without = []
    for folder in (path for path in listed(root) if path.is_dir() and path.name[0] != "."):
        split = SPLITS.get(folder.name.lower())
        inside = _in_folder(folder)
        if split is None and not inside:
            inside = [
                dataclasses.replace(table, split=SPLITS[sub.name.lower()])
                for sub in listed(folder)
                if sub.is_dir() and sub.name.lower() in SPLITS
                for table in _in_folder(sub)
            ]
        if not inside:
            without.append(folder)
        for table in inside:
            if split is None:
                found.append(dataclasses.replace(table, hospital=as_text(folder.name)))
            else:
                found.append(dataclasses.replace(table, split=split))
    if found and without:
        raise BuildError(f"{without[0]} holds no table, but other folders of {root} do")
    return found
