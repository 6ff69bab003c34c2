"""Settings of a sweep in its folder, from which workers of any machine read them."""

import dataclasses
import json
import pathlib

from f3ocus_jax.config import parsing
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.sweep import marks
from f3ocus_jax.sweep.settings import SweepConfig

SWEEP_FILE = "sweep.json"


def write(sweep: SweepConfig, workdir: pathlib.Path) -> None:
    """Writes the settings in one step.

    Args:
      sweep: Settings of the sweep.
      workdir: Folder of the sweep; created if absent.
    """
    marks.write(workdir, SWEEP_FILE, dataclasses.asdict(sweep))


def read(workdir: pathlib.Path) -> SweepConfig:
    """Reads the settings; those that an older version did not have get their defaults.

    Args:
      workdir: Folder of the sweep.

    Raises:
      ConfigError: If the folder holds no sweep, or a setting is impossible.
      DamagedError: If the file cannot be read.
    """
    path = workdir / SWEEP_FILE
    if not path.is_file():
        raise ConfigError(f"{workdir} holds no sweep (no {SWEEP_FILE}); give its --config")
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DamagedError(f"{path} is damaged ({error}); give the sweep's --config") from error
    return parsing.parse(SweepConfig, parsing.complete(SweepConfig(), raw))
