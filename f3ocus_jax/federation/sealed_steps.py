"""Numbered steps of a folder, as Orbax writes them, sealed by a manifest and checked when read.

The manifest is written into Orbax's temporary folder, which is then renamed: a step that is there
has one, unless an older version wrote it. Two files change after that: `commit_success.txt`, a
constant, and `_CHECKPOINT_METADATA`, of which the step holds a copy from before.
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from f3ocus_jax import hosts
from f3ocus_jax.errors import DamagedError
from tfds_medvqa.common import integrity

METADATA = "_CHECKPOINT_METADATA"
METADATA_COPY = "checkpoint_metadata.json"
COMMIT_TIME = "commit_timestamp_nsecs"
METRICS = "metrics/metrics"
TEMPORARY = ".orbax-checkpoint-tmp"
DAMAGED = ".damaged"
"""Suffix of a step that was set aside."""

DELETED = "deleted"
"""Folder of steps that are no longer kept: a rename is atomic, the deletion after it is not."""

logger = logging.getLogger(__name__)


def steps(directory: epath.Path) -> list[int]:
    """Returns the numbers of the steps on disk, ascending, whole or not."""
    if not directory.is_dir():
        return []
    return sorted(int(path.name) for path in directory.iterdir() if _is_step(path))


def _is_step(path: epath.Path) -> bool:
    return path.name.isascii() and path.name.isdecimal() and path.is_dir()


def check(folder: epath.Path, names: Iterable[str] | None = None) -> None:
    """Checks that a step is as it was written.

    Args:
      folder: Folder of the step.
      names: Files to read; all if None. The sizes of all are checked in any case.

    Raises:
      DamagedError: If a file is absent or changed; names it.
    """
    integrity.check_manifest(folder, names)
    if _lasting_metadata(folder / METADATA) != _lasting_metadata(folder / METADATA_COPY):
        raise DamagedError(f"{folder / METADATA} is damaged: it differs from its copy")


def _lasting_metadata(path: epath.Path) -> dict[str, Any]:
    """Returns what Orbax does not change when it commits a step."""
    if not path.is_file():
        raise DamagedError(f"{path} is missing")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {name: content[name] for name in content if name != COMMIT_TIME}
    except (ValueError, TypeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged: it is no JSON object") from error


def first_whole(directory: epath.Path, order: Iterable[int]) -> tuple[int, list[int]]:
    """Finds the first whole step, and says in one line why those before it are not used.

    A step that is gone is not damaged: a run that goes on deletes those that it no longer keeps.

    Args:
      directory: Folder of the steps.
      order: Numbers of at least one step, the preferred one first.

    Returns:
      (number of the step, numbers of the damaged steps before it).

    Raises:
      DamagedError: If no step is whole; names a file of each.
    """
    damaged: dict[int, str] = {}
    for number in order:
        try:
            check(directory / str(number))
        except DamagedError as error:
            if (directory / str(number)).exists():
                damaged[number] = str(error)
            continue
        if damaged and hosts.is_first():
            reasons = "; ".join(damaged.values())
            logger.warning("%s; using the whole checkpoint %d instead", reasons, number)
        return number, list(damaged)
    raise DamagedError(
        f"no whole checkpoint is in {directory}: {'; '.join(damaged.values())}; restore these "
        "files, or start in a new workdir"
    )


def set_aside(directory: epath.Path, numbers: Iterable[int]) -> None:
    """Renames damaged steps, so that nothing reads them and their numbers are free again.

    Args:
      directory: Folder of the steps; all hosts call this at the same point.
      numbers: Numbers of steps known to be damaged; further ones are found by their sizes.
    """
    damaged = set(numbers) | {each for each in steps(directory) if not _has_sizes(directory, each)}
    hosts.all_gather(None)  # No host may still be reading.
    if hosts.is_first():
        for number in sorted(damaged):
            _rename(directory / str(number))
    hosts.all_gather(None)


def _has_sizes(directory: epath.Path, number: int) -> bool:
    try:
        check(directory / str(number), [METRICS])
    except DamagedError:
        return False
    return True


def _rename(folder: epath.Path) -> None:
    target, count = folder.with_name(folder.name + DAMAGED), 1
    while target.exists():
        count += 1
        target = folder.with_name(f"{folder.name}{DAMAGED}-{count}")
    folder.rename(target)
    logger.warning("%s was set aside as %s", folder, target.name)


def read(folder: epath.Path, items: ocp.args.Composite) -> Mapping[str, Any]:
    """Reads items of a step that `check` found whole."""
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
        return checkpointer.restore(folder, args=items)


def read_metrics(folder: epath.Path) -> Mapping[str, float]:
    """Reads the metrics of a step.

    Raises:
      DamagedError: If their file is absent or changed, or another file has another size.
    """
    check(folder, [METRICS])
    return json.loads((folder / METRICS).read_text(encoding="utf-8"))


class StepWriter:
    """Writes steps, asynchronously and atomically, and keeps some of them.

    A process killed while it writes leaves the earlier steps as they were.
    """

    def __init__(
        self,
        directory: epath.Path,
        policies: list[checkpoint_managers.PreservationPolicy],
        best_fn: Callable[[Mapping[str, float]], float] | None = None,
    ) -> None:
        """Opens or creates the folder, whose damaged steps must have been set aside."""
        self._directory, self._number = directory, 0
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
            best_fn=best_fn,
            todelete_subdir=DELETED,
            async_options=ocp.AsyncOptions(post_finalization_callback=self._seal),
        )
        self._manager = ocp.CheckpointManager(directory, options=options)
        self._delete()

    def save(
        self, number: int, items: ocp.args.Composite, metrics: Mapping[str, float] | None = None
    ) -> None:
        """Starts to write a step; returns when the arrays have been copied."""
        self.wait()
        self._number = number
        self._manager.save(number, args=items, metrics=metrics)

    def wait(self) -> None:
        """Blocks until everything handed to `save` is on disk."""
        self._manager.wait_until_finished()
        self._delete()

    def close(self) -> None:
        """Waits, and ends the threads that write."""
        self._manager.close()
        self._delete()

    def _delete(self) -> None:
        """Deletes the steps that are no longer kept, also those that a killed process left."""
        folder = self._directory / DELETED
        if hosts.is_first() and folder.exists():
            folder.rmtree()

    def _seal(self) -> None:
        """Writes the manifest; Orbax calls this once all items are written, before it commits."""
        if not hosts.is_first():
            return
        folder = self._directory / f"{self._number}{TEMPORARY}"
        if (
            not folder.exists()
        ):  # A file system without a rename: the step has its name from the start.
            folder = self._directory / str(self._number)
        (folder / METADATA_COPY).write_bytes((folder / METADATA).read_bytes())
        names = [name for name in integrity.files(folder) if name != METADATA]
        integrity.write_manifest(folder, names)
