"""Results of a sweep as two CSV files, from which its statistics can be made again.

`runs.csv` has a row per run, `clients.csv` one per run and client. They hold what equal runs have
in common: no wall times, and not the correctness of single answers.
"""

import csv
import io
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.sweep.results import ClientResult, RunResult

RUNS_FILE, CLIENTS_FILE = "runs.csv", "clients.csv"

TEXTS = ("key", "base", "family", "method", "setting", "chosen", "algorithm")
COLUMNS = (*TEXTS, "seed", "hypervolume", "rounds", "picks", "costs")
"""Columns of runs.csv. `rounds` and `picks` are numbers with spaces between, `costs` are
`name=number` with semicolons between."""


def write_csv(results: Iterable[RunResult], folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Writes the results, equal bytes for equal results in any order.

    Args:
      results: Results of finished runs.
      folder: Output folder; created if absent.

    Returns:
      Paths of runs.csv and clients.csv.
    """
    directory = pathlib.Path(folder)
    directory.mkdir(parents=True, exist_ok=True)
    unique = {run.key: run for run in results}
    ordered = sorted(unique.values(), key=lambda run: run.order)
    runs = [{name: _text(getattr(run, name)) for name in COLUMNS} for run in ordered]
    clients = [
        {"key": run.key, "client": name, **_metrics(client)}
        for run in ordered
        for name, client in run.clients.items()
    ]
    metrics = sorted({name for row in clients for name in row} - {"key", "client"})
    _write(directory / RUNS_FILE, COLUMNS, runs)
    _write(directory / CLIENTS_FILE, ("key", "client", *metrics), clients)
    return [directory / RUNS_FILE, directory / CLIENTS_FILE]


def read_csv(folder: str | os.PathLike[str]) -> list[RunResult]:
    """Reads what `write_csv` wrote.

    Args:
      folder: Folder of runs.csv and clients.csv.

    Returns:
      The results, without wall times and the correctness of single answers.

    Raises:
      DamagedError: If a file holds something else.
      FileNotFoundError: If one is absent.
    """
    directory = pathlib.Path(folder)
    clients: dict[str, dict[str, ClientResult]] = {}
    try:
        for row in _read(directory / CLIENTS_FILE):
            key, name = row.pop("key"), row.pop("client")
            metrics = {metric: float(value) for metric, value in row.items() if value}
            clients.setdefault(key, {})[name] = ClientResult(metrics)
        return [_result(row, clients[row["key"]]) for row in _read(directory / RUNS_FILE)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise DamagedError(f"{directory}: no results of a sweep ({error!r})") from error


def _metrics(client: ClientResult) -> dict[str, str]:
    return {name: repr(float(value)) for name, value in client.metrics.items()}


def _result(row: Mapping[str, str], clients: Mapping[str, ClientResult]) -> RunResult:
    numbers = {name: [float(value) for value in row[name].split()] for name in ("rounds", "picks")}
    costs = dict(_pair(part) for part in row["costs"].split(";") if part)
    texts = {name: row[name] for name in TEXTS}
    hypervolume = float(row["hypervolume"]) if row["hypervolume"] else None
    made: dict[str, Any] = {**texts, **numbers, "costs": costs, "hypervolume": hypervolume}
    return RunResult(clients=clients, seed=int(row["seed"]), **made)


def _pair(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    return name, float(value)


def _text(value: Any) -> str:
    """Returns a cell of runs.csv; numbers so that they are read back to the last bit."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ";".join(f"{each}={float(number)!r}" for each, number in value.items())
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float):
        return repr(float(value))
    return " ".join(repr(float(number)) for number in value)


def _write(path: pathlib.Path, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode("utf-8", "backslashreplace"))


def _read(path: pathlib.Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))
