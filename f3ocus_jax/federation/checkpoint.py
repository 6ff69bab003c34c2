"""Checkpoints of a run: one Orbax step per kept round, and the settings it is bound to."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.settings import CheckpointConfig
from f3ocus_jax.types import ClientMemory, RoundRecord, ServerState

MAY_DIFFER = (
    "checkpoint.directory",
    "checkpoint.keep_best",
    "checkpoint.keep_last",
    "data.data_dir",
    "data.manual_dir",
    "distributed.coordinator",
    "distributed.host",
    "distributed.hosts",
    "federated.clients_at_once",
    "federated.clients_in_memory",
    "federated.placement",
    "federated.rounds",
)
"""Settings that a resumed run may change: paths, placement, and the number of rounds."""

VERSIONED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "evosax", "numpy")


def directory(config: CheckpointConfig, workdir: epath.PathLike) -> epath.Path:
    """Returns the folder of a run's checkpoints."""
    return epath.Path(config.directory or epath.Path(workdir) / "checkpoints")


class Checkpoints:
    """The kept rounds of one run.

    Saving is asynchronous and atomic: a process killed while it writes leaves the earlier rounds
    as they were.
    """

    def __init__(
        self, directory: epath.PathLike, config: CheckpointConfig, settings: Mapping[str, Any]
    ) -> None:
        """Opens or creates the folder.

        Args:
          directory: Absolute path of the folder, or any other path that Orbax takes.
          config: Number of rounds to keep.
          settings: Settings of the run, as `parsing.flatten` returns them, plus anything else that
            must not change during the run.
        """
        self._settings = dict(settings)

        def accuracy(metrics: Mapping[str, float]) -> float:
            return metrics["accuracy"]

        best = checkpoint_managers.BestN(
            get_metric_fn=accuracy,
            n=config.keep_best,
            keep_checkpoints_without_metrics=False,
        )
        policies = [checkpoint_managers.LatestN(config.keep_last), best]
        options = ocp.CheckpointManagerOptions(
            preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
            cleanup_tmp_directories=True,
            best_fn=accuracy,
        )
        self._manager = ocp.CheckpointManager(epath.Path(directory), options=options)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._manager.close()

    def rounds(self) -> list[int]:
        """Returns the rounds on disk, ascending."""
        return sorted(self._manager.all_steps())

    def latest(self) -> int | None:
        """Returns the newest round on disk, or None."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Returns the most accurate round on disk, or None."""
        return self._manager.best_step()

    def save(
        self, state: ServerState, memory: ClientMemory, records: Sequence[RoundRecord]
    ) -> None:
        """Starts to write a round; returns when the arrays have been copied.

        Args:
          state: State of the server after the round.
          memory: Memories of all clients after the round.
          records: Records of all rounds up to this one.
        """
        items = ocp.args.Composite(
            # As NumPy arrays, which the first host writes for all: they hold the same state.
            state=ocp.args.StandardSave(jax.device_get(_to_item(state, memory))),
            records=ocp.args.JsonSave({"rounds": [record.to_json() for record in records]}),
            config=ocp.args.JsonSave(self._settings),
            versions=ocp.args.JsonSave(versions()),
        )
        accuracy = {"accuracy": records[-1].accuracy}
        self._manager.save(records[-1].round, args=items, metrics=accuracy)

    def restore(
        self, state: ServerState, memory: ClientMemory, round: int | None = None
    ) -> tuple[ServerState, ClientMemory, list[RoundRecord]]:
        """Reads a round back.

        Args:
          state: A state of the right structure, shapes and dtypes; its values are not used.
          memory: Memories of the right structure, likewise.
          round: Round number; the newest if None.

        Returns:
          (state, memory, records of all rounds up to it).

        Raises:
          ConfigError: if the checkpoint was written under other settings; every setting that
            differs is named with both values.
          FileNotFoundError: if that round is not on disk.
        """
        round = self.latest() if round is None else round
        if round is None or round not in self.rounds():
            raise FileNotFoundError(f"no checkpoint of round {round}; on disk: {self.rounds()}")
        saved = self._manager.restore(round, args=ocp.args.Composite(config=ocp.args.JsonRestore()))
        check_settings(saved["config"], self._settings)
        arrays = jax.tree.map(
            lambda leaf: np.zeros(leaf.shape, leaf.dtype), _to_item(state, memory)
        )
        items = ocp.args.Composite(
            state=ocp.args.StandardRestore(arrays), records=ocp.args.JsonRestore()
        )
        restored = self._manager.restore(round, args=items)
        records = [RoundRecord.from_json(record) for record in restored["records"]["rounds"]]
        return *_from_item(restored["state"]), records

    def wait(self) -> None:
        """Blocks until everything handed to `save` is on disk."""
        self._manager.wait_until_finished()


def check_settings(saved: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Compares the settings of a checkpoint with those of the run that restores it.

    Args:
      saved: Settings in the checkpoint.
      current: Settings of this run.

    Raises:
      ConfigError: if a setting differs that is not in `MAY_DIFFER`.
    """
    differing = [
        f"{name} was {saved.get(name)!r}, is {current.get(name)!r}"
        for name in sorted(saved.keys() | current.keys())
        if name not in MAY_DIFFER and saved.get(name) != current.get(name)
    ]
    if differing:
        raise ConfigError(
            f"the checkpoint was written under another config: {'; '.join(differing)}; "
            "restore the old value or start in a new workdir"
        )


def _to_item(state: ServerState, memory: ClientMemory) -> dict[str, Any]:
    """Returns one checkpoint item of everything that a resume needs."""
    return {
        "rows_L": state.rows_L,
        "head": state.head,
        "round": state.round,
        "front_mask_PKL": state.front_mask_PKL,
        "vectors_KLNC": memory.vectors_LNC,
        "optimizer": state.optimizer,
        "personal_KL": memory.personal_L,
    }


def _from_item(item: Mapping[str, Any]) -> tuple[ServerState, ClientMemory]:
    names = ("rows_L", "head", "round", "front_mask_PKL", "optimizer")
    state = ServerState(**{name: item[name] for name in names})
    return state, ClientMemory(item["vectors_KLNC"], item["personal_KL"])


def versions() -> dict[str, str]:
    """Returns the versions of the packages that results depend on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED_PACKAGES}
