"""Size of a sweep before it is done: operations that are counted, hours that are reckoned.

Operations are counted from the traces of training, scoring and evaluation; no weights are made and
no data are read. Hours assume a share of a machine's peak, which nobody measured.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from f3ocus_jax.data.released_sizes import released_clients
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation.planned_costs import RunFlops, count_run
from f3ocus_jax.federation.settings import ExperimentConfig
from f3ocus_jax.models import FAMILIES
from f3ocus_jax.report import text_table
from f3ocus_jax.sweep.planned import Cell, PlannedRun
from f3ocus_jax.sweep.run_config import hash_settings
from f3ocus_jax.sweep.study import Column, column_name
from tfds_medvqa.common.features import CLASSIFICATION, QUESTION_ANSWERING
from tfds_medvqa.common.findings import FINDINGS

PEAKS = {"H200": 989e12, "TPU v4-8": 4 * 275e12}
"""Operations per second of a machine in dense bfloat16 products, as its maker states them."""

UTILISATIONS = (0.4, 0.2)
"""Shares of the peak that hours are reckoned with, an assumption."""

ABOUT = (
    "PFLOP: operations of matrix products and convolutions in a run, counted from traces, mean "
    "over its methods and seeds (least to most). Where the choice of layers depends on data, "
    "training is the mean over all choices of as many layers. Numbers of examples are those that "
    "the datasets are released with; heads have as many answers as the published model. Hours are "
    "not measured: they are operations, divided by an assumed share of the peak in bfloat16 "
    "({peaks}), of a run and, in brackets, of all. Compiling, reading of data, the server's "
    "search and idle devices are not in them."
)


@dataclasses.dataclass(frozen=True)
class ColumnSize:
    """Operations of the runs of one task and family.

    Attributes:
      column: Task and family.
      runs: Operations of every run.
    """

    column: Column
    runs: Sequence[RunFlops]

    @property
    def total(self) -> float:
        """Operations of all runs."""
        return sum(run.total for run in self.runs)


def hour_lines(
    runs: Sequence[PlannedRun], utilisations: Sequence[float] = UTILISATIONS
) -> list[str]:
    """Returns the size of a sweep as a Markdown table: a row per task and family, and the sum.

    Args:
      runs: Runs of the sweep.
      utilisations: Shares of the machines' peaks, in (0, 1].

    Raises:
      ConfigError: If no run can be counted.
    """
    sizes, problems = count_columns(runs)
    if not sizes:
        raise ConfigError(f"no run of this sweep can be counted: {problems[0]}")
    machines = [(name, share) for name in PEAKS for share in utilisations]
    heads = ["task and family", "runs", "training", "scoring", "evaluation", "PFLOP of a run"]
    heads += [f"{name} at {share:.0%}, h" for name, share in machines]
    every = ColumnSize(("all", ""), [run for size in sizes for run in size.runs])
    rows = [_row(size, machines) for size in (*sizes, every)]
    peaks = ", ".join(f"{name} {peak / 1e12:,.0f} TFLOP/s" for name, peak in PEAKS.items())
    return [
        *text_table.markdown([heads, *rows]).splitlines(),
        "",
        ABOUT.format(peaks=peaks),
        *problems,
    ]


def count_columns(runs: Iterable[PlannedRun]) -> tuple[list[ColumnSize], list[str]]:
    """Counts the runs of a sweep.

    Args:
      runs: Runs of the sweep.

    Returns:
      (sizes by task and family, in the order of the runs; a line about each cell whose runs cannot
      be counted).
    """
    by_column: dict[Column, list[PlannedRun]] = {}
    for run in runs:
        by_column.setdefault((run.cell.base, run.cell.family), []).append(run)
    counted: dict[str, RunFlops | str] = {}
    # One family after the other, as its traces are kept.
    for column in sorted(by_column, key=lambda column: column[1]):
        for run in by_column[column]:
            key = _key(run)
            if key not in counted:
                counted[key] = _try_to_count(run.config)
    found = [(run, counted[_key(run)]) for each in by_column.values() for run in each]
    sizes = [
        ColumnSize(column, [one for run in each if isinstance(one := counted[_key(run)], RunFlops)])
        for column, each in by_column.items()
    ]
    return [size for size in sizes if size.runs], _problems(found)


def _problems(found: Sequence[tuple[PlannedRun, RunFlops | str]]) -> list[str]:
    """Returns a line per cell whose runs cannot be counted."""
    failed: dict[tuple[Cell, str], int] = {}
    for run, one in found:
        if isinstance(one, str):
            failed[run.cell, one] = failed.get((run.cell, one), 0) + 1
    return [f"not counted: {cell}, {count} runs: {why}" for (cell, why), count in failed.items()]


def _key(run: PlannedRun) -> str:
    """Returns what is equal for runs that differ by their seed alone."""
    return hash_settings(dataclasses.replace(run.config, seed=0))


def _try_to_count(config: ExperimentConfig) -> RunFlops | str:
    """Returns the operations of a run, or why they cannot be counted."""
    try:
        clients = released_clients(config.data)
        tasks = {client.task for client in clients}
        answers = FAMILIES[config.model.family].full_size.answers
        return count_run(
            config,
            clients,
            answers=answers if QUESTION_ANSWERING in tasks else 0,
            findings=len(FINDINGS) if CLASSIFICATION in tasks else 0,
        )
    except ConfigError as error:
        return str(error)


def _row(size: ColumnSize, machines: Sequence[tuple[str, float]]) -> list[str]:
    count, totals = len(size.runs), [run.total / 1e15 for run in size.runs]
    parts = ("training", "scoring", "evaluation")
    means = [sum(getattr(run, part) for run in size.runs) / count / 1e15 for part in parts]
    return [
        column_name(size.column),
        f"{count:,}",
        *map(_short, means),
        f"{_short(sum(totals) / count)} ({_short(min(totals))} to {_short(max(totals))})",
        *(_hours(size, PEAKS[name] * share) for name, share in machines),
    ]


def _hours(size: ColumnSize, rate: float) -> str:
    hours = size.total / rate / 3600
    return f"{_short(hours / len(size.runs))} ({_short(hours)})"


def _short(value: float) -> str:
    """Writes a number with two digits, and all of those before the point.

    >>> _short(0.01234), _short(1.25), _short(123456.7), _short(0)
    ('0.012', '1.2', '123,457', '0')
    """
    return f"{value:.2g}" if value < 10 else f"{value:,.0f}"
