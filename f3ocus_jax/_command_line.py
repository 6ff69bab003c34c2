"""Parts that all commands share: flags, the workdir, errors of one line."""

import difflib
import functools
import itertools
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags

import f3ocus_jax
from f3ocus_jax import _xla, interrupts
from f3ocus_jax.config import Section, flatten, paths, reference, shipped
from f3ocus_jax.errors import (
    CompilerError,
    ConfigError,
    DamagedError,
    DataError,
    HostError,
    LockedError,
    RoundError,
    WeightsError,
)
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.printable import printable, write_every_character

if TYPE_CHECKING:
    from f3ocus_jax.federation.runs import FinishedRun

EXPECTED_ERRORS = (
    BuildError,
    CompilerError,
    ConfigError,
    DamagedError,
    DataError,
    HostError,
    LockedError,
    OSError,
    RoundError,
    WeightsError,
)
"""Errors that a user can cause and mend; any other is a defect and keeps its traceback."""

Result = TypeVar("Result")

ATTEMPTS = 5
"""Number of times that a checkpoint is looked for while a run deletes them."""

WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run", required=True)
CACHE = flags.DEFINE_string(
    "compilation_cache",
    "",
    "folder of compiled programs, which nobody else may write to; empty for "
    f"${_xla.CACHE_VARIABLE} or one of your own, off for none",
)


def run_with_config(
    main: Callable[[ml_collections.ConfigDict], None],
    settings: Callable[[], type[Section]],
    *,
    required: bool = True,
) -> None:
    """Runs a command that takes `--config` and `--config.section.name=value`.

    Args:
      main: The command; takes the settings, None where none are given and none are required.
      settings: Returns the class of the settings. It is called for --helpfull and for hints alone,
        since importing the class takes seconds.
      required: True if the command cannot do without a config.
    """
    help_text = f"config FILE[:VARIANT] or NAME[:VARIANT]; names: {', '.join(shipped.names())}"
    if {"--helpfull", "-helpfull"} & set(sys.argv):
        help_text += f"\nSettings, each with its default:\n{reference.as_help(settings())}"
    config = config_flags.DEFINE_config_file("config", None, help_text, lock_config=True)
    if required:
        flags.mark_flag_as_required("config")
    run(lambda: main(config.value), lambda: list(flatten(settings()())))


def define_round() -> None:
    """Adds `--round`, which chooses a checkpoint."""
    help_text = "round of the checkpoint; the best on validation examples unless given"
    flags.DEFINE_integer("round", None, help_text, lower_bound=0)


def use_run(work: "Callable[[FinishedRun], Result]") -> "tuple[FinishedRun, Result]":
    """Opens the run of --workdir, and does a piece of work with it.

    A run that goes on deletes checkpoints that it no longer keeps. If that happens to the one that
    is being read, and --round does not ask for it, the best one is opened again.

    Args:
      work: Function of the opened run.

    Returns:
      (the run, what the function returned).
    """
    for _ in range(ATTEMPTS - 1):
        opened = f3ocus_jax.load(WORKDIR.value, flags.FLAGS.round)
        try:
            return opened, work(opened)
        except Exception:  # Each reader has errors of its own for files that go away.
            if flags.FLAGS.round is not None or opened.is_on_disk():
                raise
    opened = f3ocus_jax.load(WORKDIR.value, flags.FLAGS.round)
    return opened, work(opened)


def run_with_arguments(main: Callable[[Sequence[str]], None]) -> None:
    """Runs a command that takes arguments before, between or after its options, and no workdir.

    Args:
      main: The command; takes the arguments.
    """
    delattr(flags.FLAGS, WORKDIR.name)
    flags.FLAGS.set_gnu_getopt(True)
    given: list[str] = []
    run(lambda: main(given), others=given)


def run(
    main: Callable[[], None],
    settings: Callable[[], Sequence[str]] = list,
    *,
    others: list[str] | None = None,
) -> None:
    """Runs a command; an error that a user can mend ends it with one line and exit status 1.

    Args:
      main: The command; called once flags are parsed.
      settings: Returns the names of the settings that it takes; called for hints.
      others: List that gets the arguments that are no options; None for a command without any.
    """

    write_every_character()

    def guarded(arguments: Sequence[str]) -> None:
        if others is not None:
            others.extend(arguments[1:])
        elif len(arguments) > 1:
            stop(f"unexpected argument {arguments[1]!r}; every option starts with --")
        try:
            _check_digits(sys.argv)
            with interrupts.raised():
                _xla.keep_programs(CACHE.value)
                main()
        except EXPECTED_ERRORS as error:
            stop(str(error))
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            stop(f"out of memory, lower the sizes of batches or of the model: {error}")
        except interrupts.Interrupted as interruption:
            if interrupts.is_said_by_parent():
                raise SystemExit(interruption.exit_status) from None
            stop(str(interruption), interruption.exit_status)

    for name in ("workdir", "config", "round", "compilation_cache"):
        if name in flags.FLAGS:  # so that --help lists it, although it is defined here
            flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[name])
    logging.set_verbosity(logging.WARNING)
    app.run(guarded, flags_parser=functools.partial(_parse_flags, settings=settings))


def stop(message: str, status: int = 1) -> None:
    """Prints one line on standard error and exits; the statuses are listed in docs/api.md."""
    text = f"error: {' '.join(message.split())}"
    print(printable(text), file=sys.stderr, flush=True)
    # Threads that prefetch or save must not keep a failed process alive.
    raise SystemExit(status)


def _is_out_of_memory(error: Exception) -> bool:
    """Returns True for the errors of NumPy, of Python and of a device without memory."""
    return isinstance(error, MemoryError) or str(error).startswith("RESOURCE_EXHAUSTED")


def prepare_workdir() -> pathlib.Path:
    """Returns the absolute path of --workdir, made if absent.

    Raises:
      ConfigError: If it is no local folder.
      OSError: If nothing can be written there.
    """
    workdir = paths.local_folder(WORKDIR.value, "--workdir")
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        probe = workdir / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)  # a run that starts there may remove it
    except OSError as error:
        raise OSError(f"--workdir={WORKDIR.value} cannot be written to: {error}") from error
    return workdir


def _parse_flags(arguments: Sequence[str], *, settings: Callable[[], Sequence[str]]) -> list[str]:
    try:
        return flags.FLAGS(_with_config_files(arguments))
    except ConfigError as error:
        stop(f"--config: {error}")
    except flags.Error as error:
        stop(_cause(error))
    except (AttributeError, KeyError) as error:
        stop(_unknown_override(arguments, str(error), settings()))
    except (OSError, ValueError, TypeError, ImportError, SyntaxError) as error:
        stop(f"--config cannot be read: {_cause(error)}")
    raise AssertionError("unreachable")


def _check_digits(arguments: Sequence[str]) -> None:
    """Refuses numbers in the digits of other scripts, which Python's `int` takes.

    Raises:
      ConfigError: For such a number.
    """
    for argument, following in itertools.zip_longest(arguments, arguments[1:], fillvalue=""):
        name, equals, value = argument.lstrip("-").partition("=")
        given = value if equals else following
        if given.isascii() or not argument.startswith("-") or name not in flags.FLAGS:
            continue
        if isinstance(flags.FLAGS[name].value, int | float):
            raise ConfigError(f"{name} = {given!r}, must be a number in the digits 0 to 9")


def _cause(error: Exception) -> str:
    """Returns the message of an error without the traceback that ml_collections puts into it."""
    message = str(error).strip()
    if "Traceback (most recent call last)" not in message:
        return message
    flag, last = message.partition(": ")[0], message.splitlines()[-1]
    return f"{flag}: {last.partition(': ')[2] or last}"


def _with_config_files(arguments: Sequence[str]) -> list[str]:
    """Replaces the value of --config by the file that it names."""
    located = list(arguments)
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name not in ("--config", "-config") or "config" not in flags.FLAGS:
            continue
        if equals:
            located[index] = f"--config={shipped.locate(value)}"
        elif index + 1 < len(arguments):
            located[index + 1] = shipped.locate(arguments[index + 1])
    return located


def _unknown_override(arguments: Sequence[str], message: str, settings: Sequence[str]) -> str:
    """Names the override that hit no setting, and the setting that may have been meant."""
    missing = set(re.findall(r"\w+", message.partition("Did you mean")[0]))
    for argument in arguments:
        match = re.match(r"--config\.([\w.]+)", argument)
        if match and missing.intersection(match.group(1).split(".")):
            near = re.findall(r'Did you mean "(\w+)"', message)
            near += difflib.get_close_matches(match.group(1), settings, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            return f"config.{match.group(1)} is unknown{hint}"
    return message
