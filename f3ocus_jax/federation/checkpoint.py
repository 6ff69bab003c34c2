"""Checkpoints of a run: one Orbax step per kept round, and the settings it is bound to."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers

from f3ocus_jax import hosts
from f3ocus_jax.config import Section, parsing
from f3ocus_jax.errors import ConfigError, DamagedError
from f3ocus_jax.evaluation import round_choice
from f3ocus_jax.federation import sealed_steps
from f3ocus_jax.federation.settings import CheckpointConfig, ExperimentConfig
from f3ocus_jax.types import ClientMemory, RoundRecord, ServerState

MAY_DIFFER = (
    "checkpoint.directory",
    "checkpoint.every",
    "checkpoint.keep_best",
    "checkpoint.keep_last",
    "data.data_dir",
    "data.manual_dir",
    "distributed.coordinator",
    "distributed.host",
    "distributed.hosts",
    "evaluation.features",
    "federated.clients_at_once",
    "federated.clients_in_memory",
    "federated.placement",
    "federated.rounds",
    "profile.rounds",
    "report.page_every",
)
"""Settings that a resumed run may change: paths, placement, rounds, and what it leaves beside its
records."""

OF_OWN_DATA = (
    "data.answer_separator",
    "data.clients_per_dataset",
    "data.columns",
    "data.datasets",
    "data.dirichlet_alpha",
    "data.encoding",
    "data.partition",
)
"""Settings of which every host has its own with `config.distributed.own_data`. The hash of the
partition, in partition.json, stands for what they lead to."""

NAMES = ("names of answers", "names of clients", "names of findings")
"""Entries of the bound settings that are hashes of lists in run.json, order included."""

VALIDATION = "validation"
"""Metric of a checkpoint by which the best is known; absent without validation examples."""

VERSIONED_PACKAGES = ("jax", "jaxlib", "flax", "optax", "evosax", "numpy")

logger = logging.getLogger(__name__)


def directory(config: CheckpointConfig, workdir: epath.PathLike) -> epath.Path:
    """Returns the folder of a run's checkpoints.

    Raises:
      ConfigError: For an address that cannot be reached, such as gs:// without gcsfs.
    """
    if not config.directory:
        return epath.Path(workdir) / "checkpoints"
    try:
        folder = epath.Path(config.directory)
        folder.exists()
    except Exception as error:  # of each storage system its own
        raise ConfigError(
            f"config.checkpoint.directory = {config.directory!r} cannot be reached: {error}; "
            "gs:// needs pip install gcsfs, s3:// needs pip install s3fs"
        ) from error
    return folder


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
        self._directory, self._settings = epath.Path(directory), dict(settings)

        def validation(metrics: Mapping[str, float]) -> float:
            return round_choice.preference(metrics.get(VALIDATION), 0)[0]

        best = checkpoint_managers.BestN(
            get_metric_fn=validation,
            n=config.keep_best,
            keep_checkpoints_without_metrics=False,
        )
        policies = [checkpoint_managers.LatestN(config.keep_last), best]
        self._writer = sealed_steps.StepWriter(self._directory, policies, validation)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def rounds(self) -> list[int]:
        """Returns the rounds on disk, ascending."""
        return sealed_steps.steps(self._directory)

    def latest(self) -> int | None:
        """Returns the newest round on disk, or None."""
        return max(self.rounds(), default=None)

    def best(self) -> int | None:
        """Returns the best round on disk, see `by_preference`, or None."""
        return next(iter(by_preference(self._directory)), None)

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
        last = records[-1]
        measured = {"accuracy": last.accuracy, VALIDATION: last.validation}
        metrics = {name: value for name, value in measured.items() if value is not None}
        self._writer.save(last.round, items, metrics)

    def restore(
        self, state: ServerState, memory: ClientMemory, round: int | None = None
    ) -> tuple[ServerState, ClientMemory, list[RoundRecord]]:
        """Reads a round back, the newest if None; see `restore`."""
        round = self.latest() if round is None else round
        return restore(self._directory, round, state, memory, self._settings)

    def wait(self) -> None:
        """Blocks until everything handed to `save` is on disk."""
        self._writer.wait()


def by_preference(directory: epath.Path) -> list[int]:
    """Returns the rounds on disk, those whose metrics are damaged first, then the best first.

    The best is the most accurate on validation examples; without any it is the last round.
    """

    def key(round: int) -> tuple[float, int]:
        try:
            return round_choice.preference(validation_of(directory, round), round)
        except DamagedError:
            return math.inf, round

    return sorted(sealed_steps.steps(directory), key=key, reverse=True)


def validation_of(directory: epath.Path, round: int) -> float | None:
    """Returns a round's mean metric on validation examples, None if there are none.

    Raises:
      DamagedError: If the file of the metrics is absent or changed.
    """
    return sealed_steps.read_metrics(directory / str(round)).get(VALIDATION)


def best_whole(directory: epath.Path, round: int | None = None) -> int:
    """Returns the best round that is whole, and says so if a damaged one comes before it.

    Args:
      directory: Folder of the checkpoints.
      round: Number of a round to check instead.

    Raises:
      FileNotFoundError: If that round is not on disk, or none is.
      DamagedError: If that round is damaged, or no round is whole.
    """
    rounds = sealed_steps.steps(directory)
    if not rounds and round is None:
        raise FileNotFoundError(f"{directory} holds no checkpoint yet")
    if not rounds or (round is not None and round not in rounds):
        raise FileNotFoundError(f"no checkpoint of round {round}; on disk: {rounds} in {directory}")
    if round is not None:
        sealed_steps.check(directory / str(round))
        return round
    return sealed_steps.first_whole(directory, by_preference(directory))[0]


def restore(
    directory: epath.Path,
    round: int | None,
    state: ServerState,
    memory: ClientMemory,
    settings: Mapping[str, Any],
) -> tuple[ServerState, ClientMemory, list[RoundRecord]]:
    """Reads a round back, after its files were checked.

    Args:
      directory: Folder of the checkpoints.
      round: Round number.
      state: A state of the right structure, shapes and dtypes; its values are not used.
      memory: Memories of the right structure, likewise.
      settings: Settings that the round must have been written under.

    Returns:
      (state, memory, records of all rounds up to it).

    Raises:
      ConfigError: if the checkpoint was written under other settings; every setting that
        differs is named with both values.
      DamagedError: if a file of it is absent or changed; names it.
      FileNotFoundError: if that round is not on disk.
    """
    rounds = sealed_steps.steps(directory)
    if round is None or round not in rounds:
        raise FileNotFoundError(f"no checkpoint of round {round}; on disk: {rounds} in {directory}")
    folder = directory / str(round)
    sealed_steps.check(folder)
    names = {name: ocp.args.JsonRestore() for name in ("config", "versions", "records")}
    texts = sealed_steps.read(folder, ocp.args.Composite(**names))
    check_settings(texts["config"], settings)
    compare_versions(texts["versions"], round)
    arrays = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), _to_item(state, memory))
    items = ocp.args.Composite(state=ocp.args.StandardRestore(arrays))
    restored = sealed_steps.read(folder, items)["state"]
    records = [RoundRecord.from_json(record) for record in texts["records"]["rounds"]]
    if records[-1].round != round:
        raise DamagedError(f"{folder} holds round {records[-1].round}: it was renamed")
    return *_from_item(restored), records


def read_settings(directory: epath.Path, round: int) -> Mapping[str, Any]:
    """Reads the settings of the run that wrote a round.

    Raises:
      DamagedError: If their file is absent or changed, or another has another size.
    """
    return dict(_read_text(directory, round, "config"))


def read_record(directory: epath.Path, round: int) -> RoundRecord:
    """Reads the record of a round from its checkpoint.

    Raises:
      DamagedError: If the file of the records is absent or changed, or another has another size.
    """
    return RoundRecord.from_json(_read_text(directory, round, "records")["rounds"][-1])


def _read_text(directory: epath.Path, round: int, name: str) -> Any:
    """Reads one item of a round that was saved as JSON, after its file was checked."""
    folder = directory / str(round)
    sealed_steps.check(folder, [f"{name}/metadata"])
    items = ocp.args.Composite(**{name: ocp.args.JsonRestore()})
    return sealed_steps.read(folder, items)[name]


def compare_versions(saved: Mapping[str, str], round: int) -> None:
    """Says in one line which packages have other versions than when a round was written."""
    differing = [
        f"{name} was {saved.get(name)}, is {version}"
        for name, version in versions().items()
        if saved.get(name) != version
    ]
    if differing and hosts.is_first():
        logger.warning(
            "checkpoint %d was written by other versions: %s; the last digits may differ",
            round,
            "; ".join(differing),
        )


def shared_settings(config: ExperimentConfig) -> dict[str, Any]:
    """Returns the settings by dotted name, without those that are a host's own."""
    own = OF_OWN_DATA if config.distributed.own_data else ()
    return {name: value for name, value in parsing.flatten(config).items() if name not in own}


def hash_names(names: Sequence[str]) -> str:
    """Returns a hash of names and of their order."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()[:16]


def check_settings(
    saved: Mapping[str, Any], current: Mapping[str, Any], kind: type[Section] = ExperimentConfig
) -> None:
    """Compares the settings of a checkpoint with those of the run that restores it.

    Args:
      saved: Settings in the checkpoint.
      current: Settings of this run.
      kind: Class of the settings; one that is newer than the checkpoint had its default there, or
        `Setting.earlier`.

    Raises:
      ConfigError: if a setting differs that is not in `MAY_DIFFER`.
    """
    earlier = parsing.flatten_earlier(kind())
    newer = current.keys() & earlier.keys() - saved.keys()
    written = {**saved, **{name: earlier[name] for name in newer}}
    differing = [
        f"the {name} or their order changed"
        if name in NAMES
        else f"{name} was {written.get(name)!r}, is {current.get(name)!r}"
        for name in sorted(written.keys() | current.keys())
        if name not in MAY_DIFFER and written.get(name) != current.get(name)
    ]
    if differing:
        raise ConfigError(
            f"the checkpoint was written under another config: {'; '.join(differing)}; "
            "restore the old value or start in a new workdir"
        )


def _to_item(state: ServerState, memory: ClientMemory) -> dict[str, Any]:
    """Returns one checkpoint item of everything that a resume needs."""
    item = {
        "rows_L": state.rows_L,
        "head": state.head,
        "round": state.round,
        "front_mask_PKL": state.front_mask_PKL,
        "vectors_KLNC": memory.vectors_LNC,
        "optimizer": state.optimizer,
        "personal_KL": memory.personal_L,
    }
    if memory.importance_L is not None:
        item |= {"importance_KL": memory.importance_L, "scored_in_K": memory.scored_in}
    # Only where there are any: an item of None would be missing in earlier checkpoints.
    own = {"local_optimizer_K": memory.optimizer, "head_K": memory.head}
    own |= {"controls": state.controls, "controls_K": memory.controls}
    return item | {name: value for name, value in own.items() if value is not None}


def _from_item(item: Mapping[str, Any]) -> tuple[ServerState, ClientMemory]:
    names = ("rows_L", "head", "round", "front_mask_PKL", "optimizer")
    state = ServerState(**{name: item[name] for name in names})
    own = ("importance_KL", "scored_in_K", "local_optimizer_K", "head_K", "controls_K")
    memory = ClientMemory(item["vectors_KLNC"], item["personal_KL"], *map(item.get, own))
    return dataclasses.replace(state, controls=item.get("controls")), memory


@functools.cache
def versions() -> dict[str, str]:
    """Returns the versions of the packages that results depend on."""
    return {name: importlib.metadata.version(name) for name in VERSIONED_PACKAGES}
