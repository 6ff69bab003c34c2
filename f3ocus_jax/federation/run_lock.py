"""One process per run's folder: a lock, and removal of what a killed one left there."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator

from etils import epath

from f3ocus_jax import hosts
from f3ocus_jax.config import paths
from f3ocus_jax.errors import LockedError
from f3ocus_jax.models.huggingface import peft_layout
from tfds_medvqa.common import owner_lock

LOCK = "run.lock"
"""Name of the lock in a folder."""

TEMPORARY = ("*.tmp", ".*.partial", ".*.partial-*", ".writable-*", ".*.clock-*")
"""Names of unfinished files that the package writes."""

RESULTS = (".", "figures", "model", f"model/{peft_layout.FOLDER}", peft_layout.FOLDER)
"""Folders below that of a run that hold such files."""


@contextlib.contextmanager
def owned(
    folder: pathlib.Path, checkpoints: epath.Path | None = None
) -> Iterator[Callable[[], None]]:
    """Makes this process the only one that writes to a run's folder, during a block.

    Of several hosts that run one federation the first takes the lock for all. Unfinished files that
    a killed process left are removed; those of checkpoints are left to Orbax.

    Args:
      folder: Folder of the run, made if absent.
      checkpoints: Folder of its checkpoints; one outside of `folder` gets a lock beside it.

    Yields:
      A function to call now and then, which raises LockedError if another process took the lock
      over, as it may once this machine did not respond for minutes.

    Raises:
      LockedError: On all hosts, if another process works there.
    """
    with contextlib.ExitStack() as stack:
        checks: list[Callable[[], None]] = []
        problem = ""
        if hosts.is_first():
            folder.mkdir(parents=True, exist_ok=True)
            try:
                checks = [stack.enter_context(_lock(path)) for path in _locks(folder, checkpoints)]
            except LockedError as error:
                problem = str(error)
        for found in hosts.all_gather(problem):
            if found:
                raise LockedError(found)
        if hosts.is_first():
            remove_unfinished(folder)

        def check() -> None:
            for each in checks:
                each()

        yield check


def is_seen(folder: pathlib.Path, checkpoints: epath.Path | None = None) -> bool:
    """Returns True if this host sees what `owned` locks, as the first host does.

    Args:
      folder: Folder of the run on this host.
      checkpoints: Folder of its checkpoints, as this host names it; one with an address is seen.
    """
    if checkpoints is not None and paths.is_address(str(checkpoints)):
        return True
    return _locks(folder, checkpoints)[-1].exists()


def remove_unfinished(folder: pathlib.Path) -> None:
    """Removes the unfinished files of a folder that no other process writes to."""
    for name in RESULTS:
        for pattern in TEMPORARY:
            for path in (folder / name).glob(pattern):
                path.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> Iterator[Callable[[], None]]:
    try:
        with owner_lock.held(path) as taken_by:

            def check() -> None:
                if (owner := taken_by()) is not None:
                    raise LockedError(f"{path} was taken over by {owner}, which goes on instead")

            yield check
    except owner_lock.HeldError as error:
        where = path.parent if path.name == LOCK else path.with_suffix("")
        raise LockedError(
            f"{where} is in use by {error}: wait for it, stop it, or choose another folder"
        ) from error


def _locks(folder: pathlib.Path, checkpoints: epath.Path | None) -> list[pathlib.Path]:
    """Returns the locks to take: always in this order, so that two runs cannot wait in a circle."""
    own = [folder / LOCK]
    if checkpoints is None or paths.is_address(str(checkpoints)):
        return own
    apart = pathlib.Path(checkpoints)
    if apart.is_relative_to(folder):
        return own
    apart.parent.mkdir(parents=True, exist_ok=True)
    return [*own, apart.with_name(f"{apart.name}.lock")]
