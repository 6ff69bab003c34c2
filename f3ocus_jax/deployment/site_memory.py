"""Memory of a site on disk, as it was after each of its last tasks.

A server that was started again asks for a round once more. The site then does it from the memory
that it had before, so that the round is the same.
"""

import logging
import pathlib
import shutil
from collections.abc import Mapping

import jax
import numpy as np
import safetensors.numpy

from f3ocus_jax.deployment.messages import NOTHING, EvaluateTask, ModelTask, ScoreTask, TrainTask
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.types import ClientMemory
from tfds_medvqa.common import integrity

logger = logging.getLogger(__name__)

STAGES: tuple[type[ModelTask], ...] = (ScoreTask, TrainTask, EvaluateTask)
"""Tasks of a round in their order."""

KEPT = 8
"""Memories that stay on disk: those of four rounds, one after the scores and one after training."""

FILE, RUN, PARTIAL = "memory.safetensors", "run", ".partial"


class SiteMemory:
    """The memories of one site in one run, each in a folder with a manifest."""

    def __init__(self, folder: pathlib.Path, run: str, start: ClientMemory) -> None:
        """Opens the folder.

        Args:
          folder: Folder of the memories, made if absent.
          run: Hash of the run that they belong to.
          start: Memory before round 1.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob(f"*{PARTIAL}"):
            shutil.rmtree(path)
        self._folder, self._run, self._start = folder, run, start
        self._current: tuple[int, ClientMemory] | None = None

    def before(self, task: ModelTask) -> ClientMemory:
        """Returns the memory that the site had before a task.

        Raises:
          ConfigError: If the folder holds memories of another run.
        """
        wanted = [number for number in _numbers(self._folder) if number < _number(task)]
        for number in reversed(wanted):
            if self._current is not None and self._current[0] == number:
                return self._current[1]
            try:
                return self._read(self._folder / str(number))
            except DamagedError as problem:
                logger.warning("%s; the memory before it is used", problem)
        if _numbers(self._folder):
            logger.warning("round %d begins without memory: none before it is kept", task.round)
        return self._start

    def keep(self, task: ModelTask, memory: ClientMemory) -> None:
        """Writes the memory after a task, and removes what is older or later."""
        if isinstance(task, EvaluateTask):
            return
        number = _number(task)
        partial = self._folder / f"{number}{PARTIAL}"
        partial.mkdir()
        leaves = {str(at): np.asarray(leaf) for at, leaf in enumerate(jax.tree.leaves(memory))}
        safetensors.numpy.save_file(leaves, partial / FILE, {RUN: self._run})
        integrity.write_manifest(partial)
        known = _numbers(self._folder)
        for other in [each for each in known if each >= number]:
            shutil.rmtree(self._folder / str(other))
        partial.replace(self._folder / str(number))
        for other in _numbers(self._folder)[:-KEPT]:
            shutil.rmtree(self._folder / str(other))
        self._current = (number, memory)

    def _read(self, folder: pathlib.Path) -> ClientMemory:
        integrity.check_manifest(folder)
        with safetensors.safe_open(folder / FILE, "np") as file:
            metadata: Mapping[str, str] = file.metadata() or {}
            if metadata.get(RUN) != self._run:
                raise ConfigError(
                    f"{folder} holds the memory of another run: give this run a folder of its own"
                )
            leaves = [file.get_tensor(str(at)) for at in range(len(file.keys()))]
        return jax.tree.unflatten(jax.tree.structure(self._start), leaves)


def newest_round(folder: pathlib.Path) -> int:
    """Returns the round of the newest memory in a folder; `messages.NOTHING` for none."""
    numbers = _numbers(folder)
    return numbers[-1] // len(STAGES) if numbers else NOTHING


def _number(task: ModelTask) -> int:
    """Returns a number that grows from task to task."""
    stage = next(at for at, kind in enumerate(STAGES) if isinstance(task, kind))
    return len(STAGES) * task.round + stage


def _numbers(folder: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())
