"""What do all commands of this package share? Flags, a workdir, and errors of one line."""

import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

from f3ocus_jax.config import nearest
from f3ocus_jax.errors import CompilerError, ConfigError, DataError, RoundError, WeightsError
from tfds_medvqa.build import BuildError

EXPECTED_ERRORS = (
    BuildError,
    CompilerError,
    ConfigError,
    DataError,
    OSError,
    RoundError,
    WeightsError,
)
"""What a user can cause and mend; anything else is a defect and keeps its traceback."""

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)


def run_with_config(main: Callable[[ml_collections.ConfigDict], None]) -> None:
    """Runs a command that takes `--config FILE[:VARIANT]` and `--config.section.name=value`.

    Args:
      main: the command, to be called with the settings.
    """
    config = config_flags.DEFINE_config_file("config", None, "config file", lock_config=True)
    flags.mark_flag_as_required("config")
    run(lambda: main(config.value))


def define_round() -> None:
    """Adds `--round`, which chooses a checkpoint."""
    help_text = "which checkpoint; the most accurate one unless given"
    flags.DEFINE_integer("round", None, help_text, lower_bound=0)


def run(main: Callable[[], None]) -> None:
    """Runs a command; an error that a user can mend ends it with one line and exit status 1.

    Args:
      main: the command, to be called once flags are parsed.
    """

    def guarded(arguments: Sequence[str]) -> None:
        if len(arguments) > 1:
            stop(f"unexpected argument {arguments[1]!r}; every option starts with --")
        try:
            main()
        except EXPECTED_ERRORS as error:
            stop(str(error))

    logging.set_verbosity(logging.WARNING)
    app.run(guarded, flags_parser=_parse_flags)


def stop(message: str) -> None:
    """Prints one line on standard error and exits with status 1."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    # Threads that prefetch or save must not keep a failed process alive.
    raise SystemExit(1)


def prepare_workdir() -> pathlib.Path:
    """Returns the absolute path of --workdir, made if absent.

    Raises:
      OSError: if nothing can be written there.
    """
    workdir = pathlib.Path(WORKDIR.value).absolute()
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OSError(f"--workdir={WORKDIR.value} cannot be written to: {error}") from error
    return workdir


def existing_workdir() -> pathlib.Path:
    """Returns the absolute path of --workdir.

    Raises:
      FileNotFoundError: if no run was started there.
    """
    workdir = pathlib.Path(WORKDIR.value).absolute()
    if not (workdir / "run.json").is_file():
        raise FileNotFoundError(
            f"--workdir={WORKDIR.value} holds no run (no run.json); start one with "
            "python -m f3ocus_jax.train"
        )
    return workdir


def _parse_flags(arguments: Sequence[str]) -> list[str]:
    try:
        return flags.FLAGS(arguments)
    except flags.Error as error:
        stop(str(error))
    except (AttributeError, KeyError) as error:
        stop(_unknown_override(arguments, str(error)))
    except (OSError, ValueError, TypeError, ImportError, SyntaxError) as error:
        stop(f"--config cannot be read: {error}")
    raise AssertionError("unreachable")


def _unknown_override(arguments: Sequence[str], message: str) -> str:
    """Names the override that hit no setting, and the setting that may have been meant."""
    for argument in arguments:
        match = re.match(r"--config\.([\w.]+)", argument)
        if match and match.group(1).rpartition(".")[2] in message:
            near = re.search(r'Did you mean "(\w+)"', message)
            hint = nearest(match.group(1), [near.group(1)]) if near else ""
            hint = f"; did you mean {near.group(1)}?" if near else hint
            return f"config.{match.group(1)} is unknown{hint}"
    return message
