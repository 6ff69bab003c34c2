"""Costs of a run: traffic and operations of every client, and wall time by stage."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from f3ocus_jax.report.page.source import RunSource
from f3ocus_jax.types import COMPILING


@dataclasses.dataclass(frozen=True)
class ClientCosts:
    """Costs of one client in a round, mean over the rounds; None where they are unknown."""

    client: str
    megabits: float | None
    gigaflops: float | None
    seconds: float | None


@dataclasses.dataclass(frozen=True)
class Costs:
    """Costs of a run.

    Attributes:
      clients: Costs of each client; empty before the final table is written.
      megabits: MBit of all clients over all rounds; None where unknown.
      gigaflops: GFLOP of all clients over all rounds; None where unknown.
      seconds: Wall time of all stages so far, with compiling.
      stages: Stage to its wall time; what they compiled is one entry.
    """

    clients: list[ClientCosts]
    megabits: float | None
    gigaflops: float | None
    seconds: float
    stages: dict[str, float]


def costs(source: RunSource) -> Costs:
    """Gathers the costs.

    Args:
      source: The run.
    """
    rows = list(source.summary.get("clients", ()))
    rounds = source.summary.get("rounds", 0)
    stages: dict[str, float] = {}
    for record in source.records:
        for stage, seconds in record.seconds.items():
            name = COMPILING.strip() if stage.startswith(COMPILING) else stage
            stages[name] = stages.get(name, 0.0) + seconds
    return Costs(
        clients=[_of_client(row) for row in rows],
        megabits=_total(rows, "megabits_total", rounds),
        gigaflops=_total(rows, "gigaflops_total", rounds),
        seconds=sum(stages.values()),
        stages=stages,
    )


def _of_client(row: Mapping[str, Any]) -> ClientCosts:
    keys = ("megabits_total", "gigaflops_total", "seconds_total")
    return ClientCosts(row["client"], *map(row.get, keys))


def _total(rows: list[Mapping[str, Any]], key: str, rounds: int) -> float | None:
    """Returns a cost of all clients and rounds; None unless every client has it."""
    if not rows or not all(key in row for row in rows):
        return None
    return float(rounds * sum(row[key] for row in rows))
