"""Profiles of single rounds: what ran when, on the host and on the devices, stage by stage."""

import contextlib
import pathlib
from collections.abc import Iterator

import jax

from f3ocus_jax import hosts
from f3ocus_jax.federation.settings import ProfileConfig

FOLDER = "profile"
"""Folder of the workdir that holds a folder of each profiled round."""


@contextlib.contextmanager
def profiled(config: ProfileConfig, workdir: pathlib.Path, number: int) -> Iterator[None]:
    """Writes a trace of the block if its round is to be profiled, on the first host.

    Args:
      config: Rounds to profile.
      workdir: Folder of the run.
      number: Round number.
    """
    if number not in config.rounds or not hosts.is_first():
        yield
        return
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # Calls of Python functions would fill the trace.
    folder = workdir / FOLDER / f"round_{number}"
    with (
        jax.profiler.trace(folder, profiler_options=options),
        jax.profiler.StepTraceAnnotation("round", step_num=number),
    ):
        yield
