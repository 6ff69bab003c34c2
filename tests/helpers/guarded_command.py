"""A command of the package in a process that must not open files of some folders.

python -m tests.helpers.guarded_command FOLDER[:FOLDER…] MODULE ARGUMENT…
"""

import os
import runpy
import sys
from typing import Any

EVENTS = {"open", "os.listdir", "os.scandir"}
"""Audit events of Python that have a path as first argument."""


def refuse(folders: list[str]) -> None:
    """Makes this process fail where it opens or lists anything in the folders."""

    def check(event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if any(path == folder or path.startswith(folder + os.sep) for folder in folders):
                raise PermissionError(f"{path} belongs to another host")

    sys.addaudithook(check)


if __name__ == "__main__":
    refuse([os.path.abspath(folder) for folder in sys.argv[1].split(os.pathsep)])
    module, sys.argv = sys.argv[2], sys.argv[2:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
