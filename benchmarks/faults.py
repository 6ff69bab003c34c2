"""Tests run in a copy of the repository, into which faults are put.

Each run is a fork of this process, which has imported the libraries already. What JAX compiles is
kept for the runs that follow: a fault changes few of the programs.
"""

import contextlib
import importlib
import os
import pathlib
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence

REPOSITORY = pathlib.Path(__file__).parents[1]
COPIED = (
    *("f3ocus_jax", "tfds_medvqa", "configs", "tests", "benchmarks", "docs", "scripts"),
    *("pyproject.toml", "README.md", "Makefile", "requirements.lock"),
)
PRELOADED = (
    *("pytest", "jax", "flax", "optax", "orbax.checkpoint", "evosax", "scipy.optimize", "nltk"),
    *("tensorflow_datasets", "transformers", "safetensors.numpy", "grain", "matplotlib"),
)
EXTENDED = "not slow and not gpu and not parity"
"""The mark expression of pytest that adds the extended cases."""


def copied(folder: pathlib.Path) -> pathlib.Path:
    """Copies what the tests need, so that the checkout itself never has a fault."""
    for name in COPIED:
        if (REPOSITORY / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        else:
            shutil.copy(REPOSITORY / name, folder / name)
    return folder


def preload(cache: pathlib.Path) -> None:
    """Imports the libraries, none of them of this repository.

    Args:
      cache: The folder in which all runs keep what JAX compiles.
    """
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(cache.absolute()),
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in PRELOADED:
        importlib.import_module(name)


def outcome(
    copy: pathlib.Path, tests: Sequence[str], seconds: int, marks: str = ""
) -> tuple[str, str]:
    """Runs tests in a copy of the repository until one of them fails.

    Args:
      copy: The folder of the copy.
      tests: Files or folders of tests, relative to the copy.
      seconds: CPU seconds after which the run is ended, or ten times as many of the clock.
      marks: Mark expression of pytest instead of that of `make test`.

    Returns:
      "killed" where a test fails, "timeout", "survived" where all pass, or "broken" where pytest
      itself could not run; and the line that names the failed test.
    """
    log = copy / "pytest.log"
    child = os.fork()
    if not child:
        _run_tests(copy, log, seconds, [*tests, *(["-m", marks] if marks else [])])
    end = time.monotonic() + 10 * seconds
    while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < end:
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)  # what the tests started and left, too
    if not ended[0]:
        os.waitpid(child, 0)
        return "timeout", ""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    # 2: a module does not import with the fault, which stops the collection of tests.
    results = {0: "survived", 1: "killed", 2: "killed", -signal.SIGXCPU: "timeout"}
    results[-signal.SIGKILL] = "timeout"
    return results.get(os.waitstatus_to_exitcode(ended[1]), "broken"), "".join(failed[-1:])


def _run_tests(
    copy: pathlib.Path, log: pathlib.Path, seconds: int, arguments: Sequence[str]
) -> None:
    """Runs pytest in the forked process, and ends it."""
    code = 3
    try:
        os.setsid()
        used = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + seconds, used + seconds))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        here = {str(REPOSITORY), ""}
        sys.path[:] = [str(copy), *(path for path in sys.path if path not in here)]
        for name in [name for name in sys.modules if name.partition(".")[0] == "benchmarks"]:
            del sys.modules[name]
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        import pytest

        options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--tb", "line"]
        options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, *arguments]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)
