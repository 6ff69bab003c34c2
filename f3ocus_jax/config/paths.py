"""Paths of settings and of command lines: "~", addresses such as gs://, and empty text."""

import enum
import os
import pathlib
import re

from f3ocus_jax.errors import ConfigError
from tfds_medvqa.common.table_options import PREFIX

_ADDRESS = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+:/")


class Kind(enum.Enum):
    """Kinds of paths that a setting may be."""

    LOCAL = "local"
    """A folder or file of this machine."""
    LOCAL_OR_NONE = "local or none"
    """The same, or empty text."""
    DATASET = "dataset"
    """The name of a dataset, or "files:" and a local path, which is made absolute."""
    ANY_OR_NONE = "any or none"
    """A local folder, which is made absolute; an address, as in gs://bucket/run; or empty text."""


def is_address(path: str) -> bool:
    """Returns True for an address, such as gs://bucket/run, and False for a local path."""
    return _ADDRESS.match(path) is not None


def normalised(path: str, kind: Kind) -> str:
    """Returns a path without "~"; absolute where the kind says so.

    Args:
      path: Path as a user gives it.
      kind: Kind of the path.
    """
    if kind is Kind.DATASET:
        folder = path.removeprefix(PREFIX)
        return path if folder == path else PREFIX + os.path.abspath(os.path.expanduser(folder))
    if is_address(path):
        return path
    expanded = os.path.expanduser(path)
    if kind is Kind.ANY_OR_NONE and expanded.strip() and problem(path, kind) is None:
        return os.path.abspath(expanded)
    return expanded


def problem(path: str, kind: Kind) -> str | None:
    """Returns the possible values for an impossible path, and None for a possible one.

    Args:
      path: Path as a user gives it.
      kind: Kind of the path.
    """
    if kind is Kind.DATASET:
        is_own = path.startswith(PREFIX)
        allowed = problem(path.removeprefix(PREFIX), Kind.LOCAL) if is_own else None
        return f'"{PREFIX}" and {allowed}' if allowed else None
    if not path.strip():
        is_allowed = path == "" and kind is not Kind.LOCAL
        return None if is_allowed else "the path of a folder, not empty"
    if not path.isprintable():
        return "a path of printable characters"
    if kind is not Kind.ANY_OR_NONE and is_address(path):
        return "a local path; config.checkpoint.directory alone takes addresses such as gs://"
    if os.path.expanduser(path).startswith("~"):
        return "a path whose user exists"
    return None


def local_folder(path: str | os.PathLike[str], name: str) -> pathlib.Path:
    """Returns the absolute path of a local folder that a user names.

    Args:
      path: Path as the user gives it.
      name: Name of the argument, for the message.

    Raises:
      ConfigError: For empty text, an address, or "~" with a user that does not exist.
    """
    given = os.fspath(path)
    allowed = problem(given, Kind.LOCAL)
    if allowed is not None:
        raise ConfigError(f"{name} = {given!r}, must be {allowed}")
    return pathlib.Path(normalised(given, Kind.LOCAL)).absolute()
