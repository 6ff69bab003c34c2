"""Run a command: f3ocus COMMAND [OPTIONS], the same as python -m f3ocus_jax.COMMAND [OPTIONS]."""

import ast
import difflib
import importlib.util
import pathlib
import runpy
import sys

from f3ocus_jax import interrupts

COMMANDS = (
    *("train", "evaluate", "predict", "pretrain", "initialise", "convert", "inspect_data"),
    *("report", "compare", "sweep", "deployment"),
)
"""Modules of this package that run as commands, in the order of the help text."""

USAGE = "usage: f3ocus COMMAND [OPTIONS]"


def main() -> None:
    """Runs the command that the first argument names; prints the list of commands without one."""
    name, *options = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "-help", "help"):
        print(help_text())
        return
    if name not in COMMANDS:
        print(f"error: {unknown_command(name)}", file=sys.stderr)
        raise SystemExit(1)
    sys.argv[1:] = options
    interrupts.end_at_once()
    runpy.run_module(f"f3ocus_jax.{name}", run_name="__main__", alter_sys=True)


def help_text() -> str:
    """Returns the commands with one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {summary(name)}" for name in COMMANDS]
    return "\n".join([USAGE, "", *lines, "", "f3ocus COMMAND --help lists a command's options."])


def summary(name: str) -> str:
    """Returns the first line of a command's docstring, read without importing the command."""
    spec = importlib.util.find_spec(f"f3ocus_jax.{name}")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"f3ocus_jax.{name}")
    docstring = ast.get_docstring(ast.parse(pathlib.Path(spec.origin).read_text(encoding="utf-8")))
    return (docstring or "").partition("\n")[0].rstrip(".")


def unknown_command(name: str) -> str:
    """Returns the message for a command that does not exist; names the nearest one."""
    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"choose {', '.join(COMMANDS)}"
    return f"command {name!r} is unknown; {hint}"


if __name__ == "__main__":
    main()
