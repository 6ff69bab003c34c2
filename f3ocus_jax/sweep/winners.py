"""Choice of a cell's settings among the candidates that its tuning runs tried on validation."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.evaluation import round_choice
from f3ocus_jax.report import record_files
from f3ocus_jax.sweep import marks
from f3ocus_jax.sweep.marks import State
from f3ocus_jax.sweep.planned import PlannedRun
from f3ocus_jax.sweep.results import RECORDS_FILE


@dataclasses.dataclass(frozen=True)
class Trial:
    """Candidate of a cell with the runs that try it.

    Attributes:
      text: Its settings in words.
      settings: Dotted name to value.
      runs: One run per seed of the tuning.
    """

    text: str
    settings: Mapping[str, Any]
    runs: tuple[PlannedRun, ...]


@dataclasses.dataclass(frozen=True)
class Measured:
    """Result of a candidate.

    Attributes:
      text: Its settings in words.
      values: Main metric on validation examples of each seed's run, at the round that is best on
        them, mean over the clients; empty if a run failed.
      problem: Error of the first run that failed; "" if none did.
    """

    text: str
    values: tuple[float, ...]
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class Decision:
    """Result of the tuning of a cell.

    Attributes:
      measured: Every candidate, in the order of the search.
      winner: Index of the candidate with the best mean over seeds, the first of equals; None if
        all failed.
    """

    measured: tuple[Measured, ...]
    winner: int | None

    @property
    def problem(self) -> str:
        """Reason why there is no winner, in one line."""
        return f"all {len(self.measured)} candidates failed in tuning: {self.measured[0].problem}"


def decide(trials: Sequence[Trial], workdir: pathlib.Path) -> Decision | None:
    """Chooses the winner of a cell, which follows from the files of its finished runs alone.

    Args:
      trials: Candidates of the cell.
      workdir: Folder of the sweep.

    Returns:
      The decision; None while a run is left.
    """
    runs = [run for trial in trials for run in trial.runs]
    if any(marks.state_of(run, workdir) is State.LEFT for run in runs):
        return None
    measured = tuple(measure(trial, workdir) for trial in trials)
    means = {i: float(np.mean(each.values)) for i, each in enumerate(measured) if not each.problem}
    # max takes the first of equal means.
    return Decision(measured, max(means, key=means.__getitem__) if means else None)


def measure(trial: Trial, workdir: pathlib.Path) -> Measured:
    """Reads the result of a candidate; one of which any run failed has none.

    Args:
      trial: The candidate; all of its runs are finished or failed.
      workdir: Folder of the sweep.
    """
    values = []
    for run in trial.runs:
        if marks.state_of(run, workdir) is State.FAILED:
            return Measured(trial.text, (), marks.error_of(run, workdir))
        try:
            values.append(_validation(run.folder(workdir)))
        except DamagedError as error:
            return Measured(trial.text, (), str(error))
    return Measured(trial.text, tuple(values))


def _validation(folder: pathlib.Path) -> float:
    path = folder / RECORDS_FILE
    try:
        records = record_files.read_records(path)
    except ValueError as error:
        raise DamagedError(str(error)) from error
    chosen = round_choice.chosen_round(records).validation if records else None
    if chosen is None:
        raise DamagedError(f"{path} holds no result on validation examples: run it again")
    return chosen
