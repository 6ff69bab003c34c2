"""Runs of a sweep: the cell of the report that one belongs to, its settings, its folder."""

import dataclasses
import pathlib

from f3ocus_jax.federation.settings import ExperimentConfig

RUNS = "runs"
"""Folder of the runs, below that of a sweep."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """Part of a run's settings that a report compares.

    Attributes:
      base: Config of the run.
      family: Family of the model; "" for that of the config.
      method: Method of the paper's tables.
      setting: Further settings in words, as in "training.learning_rate=0.001"; "" for none.
    """

    base: str
    family: str
    method: str
    setting: str

    def __str__(self) -> str:
        """Returns the cell in one line."""
        return " ".join(filter(None, (self.base, self.family, self.method, self.setting)))


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep.

    Attributes:
      key: Hash of its settings, the name of its folder.
      cell: Cell of the report.
      seed: Seed of the run.
      config: All of its settings.
      candidate: Tuned settings in words; "" in a sweep without tuning.
      tunes: True for a run that tries a candidate on validation examples, and reads no test
        example.
    """

    key: str
    cell: Cell
    seed: int
    config: ExperimentConfig
    candidate: str = ""
    tunes: bool = False

    def folder(self, workdir: pathlib.Path) -> pathlib.Path:
        """Returns the folder of the run in that of its sweep."""
        return workdir / RUNS / self.key

    def __str__(self) -> str:
        """Returns the run in one line."""
        return describe(self.cell, self.candidate, self.seed, tunes=self.tunes)


def describe(cell: Cell, candidate: str, seed: int, *, tunes: bool) -> str:
    """Returns a run in one line; see `PlannedRun`."""
    words = ("tuning" if tunes else "", candidate, f"seed {seed}")
    return " ".join([str(cell), *filter(None, words)])


@dataclasses.dataclass(frozen=True)
class UndecidedRun:
    """Run whose settings are those of a winner that is not known.

    Attributes:
      cell: Cell of the report.
      seed: Seed of the run.
      reason: Reason in one line.
      failed: True if every candidate failed; False while tuning goes on.
    """

    cell: Cell
    seed: int
    reason: str
    failed: bool

    def __str__(self) -> str:
        """Returns the run in one line."""
        return f"{self.cell} seed {self.seed}"
