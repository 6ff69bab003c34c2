"""Results of finished runs, read from the files that a run leaves."""

import dataclasses
import json
import math
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.evaluation import correctness
from f3ocus_jax.evaluation.features import FEATURES_FILE
from f3ocus_jax.report import record_files
from f3ocus_jax.sweep import layer_use
from f3ocus_jax.sweep.layer_use import LayerUse
from f3ocus_jax.types import RoundRecord

TABLE_FILE, RECORDS_FILE, PARTITION_FILE = "table.json", "records.jsonl", "partition.json"

COSTS = (
    "megabits_up",
    "megabits_down",
    "megabits_head",
    "megabits_total",
    "trainable_parameters",
    "head_parameters",
    "gigaflops_per_example",
    "gigaflops_scoring",
    "gigaflops_total",
)
"""Costs of a client and round, as `report.table` names them."""


@dataclasses.dataclass(frozen=True)
class ClientResult:
    """Result of one client in one run.

    Attributes:
      metrics: Metrics in [0, 1] on the test split: "accuracy" at the chosen round, which is the
        best on validation examples where the run chose one, otherwise the last; "final" at the
        last round, "start" before training, "best" at the best round of the test split (an
        oracle's choice), and baselines such as "majority_answer". What is unknown has no key.
    """

    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class RunResult:
    """Result of one finished run.

    Attributes:
      key: Hash of its settings.
      base: Name of the base config: the task.
      family: Family of its model.
      method: Name of its method.
      setting: Text of its overrides, as in "training.learning_rate=0.001"; "" without any.
      seed: Its seed.
      clients: Client to result, in the federation's order.
      rounds: Mean test metric after each round, [rounds + 1], the first before training; NaN for a
        round that was not measured.
      seconds: Stage to total wall time in seconds.
      costs: Cost to mean over the clients, per round; a key of `COSTS` each.
      correct: Client to bool [examples], True where the answer of the chosen round is correct; None
        where a run kept none.
      examples: Client to hash of the run's examples; runs with equal hashes asked the same
        questions. "" if it is not known.
      algorithm: Name of the server's selector; "" if it chose nothing.
      hypervolume: Mean hypervolume of the server's fronts over rounds; None without fronts.
      picks: Share of the clients and rounds in which each layer was trained, [L]; empty if unknown.
      chosen: Rule by which the round of "accuracy" was chosen, as the run says it.
      features: File with the features of some test examples; None if the run kept none.
      losses: Mean test loss of every round, as `rounds`.
      train_losses: Mean over the clients of their training loss in every round, [rounds + 1]; NaN
        before training.
      layer_use: Ranks and choices of layers; None where a client scored none.
    """

    key: str
    base: str
    family: str
    method: str
    setting: str
    seed: int
    clients: Mapping[str, ClientResult]
    rounds: Sequence[float] = ()
    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    costs: Mapping[str, float] = dataclasses.field(default_factory=dict)
    correct: Mapping[str, np.ndarray] | None = None
    examples: Mapping[str, str] = dataclasses.field(default_factory=dict)
    algorithm: str = ""
    hypervolume: float | None = None
    picks: Sequence[float] = ()
    chosen: str = "the last round"
    features: pathlib.Path | None = None
    losses: Sequence[float] = ()
    train_losses: Sequence[float] = ()
    layer_use: LayerUse | None = None

    @property
    def order(self) -> tuple[str, str, str, str, int, str]:
        """Place among the results of a sweep: by cell, then by seed."""
        return self.base, self.family, self.method, self.setting, self.seed, self.key

    @property
    def accuracy(self) -> float:
        """Mean over the clients of the metric at the chosen round."""
        return float(np.mean([client.metrics["accuracy"] for client in self.clients.values()]))


@dataclasses.dataclass(frozen=True)
class MissingRun:
    """Run that was planned and has no result.

    Attributes:
      base: Name of the base config.
      family: Family of its model.
      method: Name of its method.
      setting: Text of its overrides.
      seed: Its seed.
      reason: Its error in one line, or "not run yet".
    """

    base: str
    family: str
    method: str
    setting: str
    seed: int
    reason: str


def read_result(
    folder: pathlib.Path,
    *,
    key: str = "",
    base: str = "",
    family: str = "",
    method: str = "",
    setting: str = "",
    seed: int = 0,
) -> RunResult:
    """Reads the result of a finished run from its table.json and records.jsonl.

    Args:
      folder: Folder of the run.
      key: Hash of its settings.
      base: Name of the base config.
      family: Family of its model.
      method: Name of its method.
      setting: Text of its overrides.
      seed: Its seed.

    Returns:
      The result.

    Raises:
      DamagedError: If a file does not hold what a run writes there.
      FileNotFoundError: If the folder holds no finished run.
    """
    path = folder / TABLE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no finished run (no {TABLE_FILE})")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        rows = {str(row["client"]): row for row in table["clients"]}
        clients = {name: ClientResult(_metrics(row)) for name, row in rows.items()}
        costs = {name: float(table["mean"][name]) for name in COSTS if name in table["mean"]}
        seconds = {str(stage): float(value) for stage, value in table["seconds"].items()}
        records = record_files.read_records(folder / RECORDS_FILE)
        if not clients or not records:
            raise ValueError("no clients" if not clients else f"no {RECORDS_FILE}")
        return RunResult(
            key=key,
            base=base,
            family=family,
            method=method,
            setting=setting,
            seed=seed,
            clients=clients,
            rounds=_rounds(records, lambda record: record.accuracy),
            losses=_rounds(records, lambda record: record.loss),
            train_losses=_rounds(records, _train_loss),
            layer_use=layer_use.of_records(records),
            seconds=seconds,
            costs=costs,
            correct=_correct(records, table.get("chosen_round", records[-1].round)),
            examples=dict.fromkeys(clients, _partition(folder)),
            chosen=str(table.get("choice", "the last round")),
            algorithm=_algorithm(records),
            hypervolume=_hypervolume(records),
            picks=_picks(records),
            features=path if (path := folder / FEATURES_FILE).is_file() else None,
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedError(f"{path} is damaged ({error}): run it again in a new folder") from error


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """Returns a client's metrics from its row of table.json, of this version or an older one."""
    kept = {
        "accuracy": row.get("accuracy_chosen", row["accuracy_final"]),
        "final": row["accuracy_final"],
        "start": row.get("accuracy_start"),
        "best": row.get("accuracy_oracle", row.get("accuracy_best")),
    }
    kept |= {name: row.get(name) for name in ("majority_answer", "majority_per_question")}
    metrics = {name: float(value) for name, value in kept.items() if value is not None}
    if not all(map(math.isfinite, metrics.values())):
        raise ValueError(f"client {row['client']!r} has a metric that is not finite")
    return metrics


def _correct(records: Sequence[RoundRecord], chosen: int) -> dict[str, np.ndarray] | None:
    """Returns the correctness of the clients' answers after a round, None where none is kept."""
    clients = [client for record in records if record.round == chosen for client in record.clients]
    found = {each.client: correctness.unpack(each.correct) for each in clients if each.correct}
    return found or None


def _partition(folder: pathlib.Path) -> str:
    """Returns the hash of a run's examples, their splits and order; "" if it is not known."""
    path = folder / PARTITION_FILE
    if not path.is_file():
        return ""
    return str(json.loads(path.read_text(encoding="utf-8"))["partition_hash"])


def _rounds(
    records: Sequence[RoundRecord], value_of: Callable[[RoundRecord], float | None]
) -> list[float]:
    """Returns a value of every round, NaN where it was not measured."""
    by_round = {record.round: value_of(record) for record in records}
    values = [by_round.get(number) for number in range(records[-1].round + 1)]
    return [math.nan if value is None else float(value) for value in values]


def _train_loss(record: RoundRecord) -> float | None:
    """Returns the mean training loss of the clients that trained, None if none did."""
    values = [client.train_loss for client in record.clients if client.train_loss is not None]
    return float(np.mean(values)) if values else None


def _algorithm(records: Sequence[RoundRecord]) -> str:
    """Returns the name of the selector, or ""."""
    return next((r.selection.algorithm for r in records if r.selection is not None), "")


def _hypervolume(records: Sequence[RoundRecord]) -> float | None:
    """Returns the mean hypervolume of the fronts, None without one."""
    choices = [record.selection for record in records if record.selection is not None]
    volumes = [choice.hypervolume for choice in choices if choice.front]
    return float(np.mean(volumes)) if volumes else None


def _picks(records: Sequence[RoundRecord]) -> list[float]:
    """Returns the share of clients and rounds that trained each layer; empty if none is known."""
    trained = [c for record in records for c in record.clients if c.scores and not c.left_out]
    counts_L = np.zeros(len(trained[0].scores) if trained else 0)
    for client in trained:
        counts_L[client.layers] += 1
    return (counts_L / max(len(trained), 1)).tolist()
