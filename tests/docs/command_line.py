"""The package's own parsers, called in this process on commands of the documentation."""

import os
import pathlib
import runpy
import sys
from collections.abc import Callable, Sequence
from unittest import mock

from absl import app, flags

from f3ocus_jax import _command_line  # noqa: F401, whose own flags stay


def parse(module: str, arguments: Sequence[str], folder: pathlib.Path) -> None:
    """Parses the flags of a command, without running it.

    Args:
      module: Module of the command, as in "f3ocus_jax.train".
      arguments: Words behind the command.
      folder: Working directory, to which config files are relative.

    Raises:
      SystemExit: If a flag, a config file, a variant or a setting is unknown.
    """

    def only_parse(main: Callable, flags_parser: Callable, **_: object) -> None:
        flags_parser(sys.argv)

    before, argv, here = set(flags.FLAGS), sys.argv, pathlib.Path.cwd()
    workdir = flags.FLAGS["workdir"]
    # runpy warns of a module that another test has imported; a package's is its __main__.
    names = [name for name in (module, f"{module}.__main__") if name in sys.modules]
    imported = {name: sys.modules.pop(name) for name in names}
    try:
        sys.argv = [module, *arguments]
        os.chdir(folder)
        with mock.patch.object(app, "run", only_parse):
            runpy.run_module(module, run_name="__main__", alter_sys=False)
    finally:
        os.chdir(here)
        sys.argv = argv
        sys.modules.update(imported)
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        if "workdir" not in flags.FLAGS:  # a command that takes arguments has none
            flags.FLAGS["workdir"] = workdir
            flags.FLAGS.set_gnu_getopt(False)
        flags.FLAGS.unparse_flags()
