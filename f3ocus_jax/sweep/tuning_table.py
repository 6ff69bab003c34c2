"""Tables of a sweep's tuning: every candidate of every method on validation, and the winners."""

import dataclasses
from collections.abc import Sequence

from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.formats import NOTHING, Cell, Number, Table
from f3ocus_jax.sweep.intervals import t_interval
from f3ocus_jax.sweep.study import Column, column_name
from f3ocus_jax.sweep.winners import Decision

PERCENT = 100.0

NOTE = (
    "Mean over clients on validation examples, at the round that is best on them, then over the "
    "seeds of the tuning. Tuning runs leave the test splits out. Bold: the winner, the first of "
    "equals, whose settings the runs of all other tables have."
)


@dataclasses.dataclass(frozen=True)
class TunedArm:
    """Tuning of one method on one task and family.

    Attributes:
      column: Task and family.
      arm: Method with its own settings.
      decision: Result of the tuning; None while it goes on.
    """

    column: Column
    arm: Arm
    decision: Decision | None


@dataclasses.dataclass(frozen=True)
class Tuning:
    """Tuning of a sweep.

    Attributes:
      search: Name of the search.
      candidates: Settings that each method tries, in words.
      seeds: Seeds with which each of them is tried.
      arms: Tuned methods, in any order.
    """

    search: str
    candidates: Sequence[str]
    seeds: Sequence[int]
    arms: Sequence[TunedArm]

    @property
    def budget(self) -> str:
        """Number of runs that each method gets, in words."""
        tried, seeds = len(self.candidates), len(self.seeds)
        each = f"{tried} {_plural(tried, 'candidate')} × {seeds} {_plural(seeds, 'seed')}"
        return f"each method: {each} = {tried * seeds} {_plural(tried * seeds, 'run')}"


def make_all(tuning: Tuning) -> list[Table]:
    """Makes one table per task and family.

    Args:
      tuning: Tuning of the sweep.

    Returns:
      The tables: a row per candidate, a column per method, in percent.
    """
    columns = sorted({each.column for each in tuning.arms})
    return [_table(tuning, column, number) for number, column in enumerate(columns, start=1)]


def _table(tuning: Tuning, column: Column, number: int) -> Table:
    tuned = sorted(
        (each for each in tuning.arms if each.column == column), key=lambda each: each.arm.order
    )
    rows = [
        [text, *(_cell(each.decision, index) for each in tuned)]
        for index, text in enumerate(tuning.candidates)
    ]
    seeds = ", ".join(map(str, tuning.seeds))
    return Table(
        f"tuning_{number}",
        f"Tuning, {column_name(column)}",
        ["Candidate", *(f"{each.arm.title} %" for each in tuned)],
        rows,
        [
            f"Budget of {tuning.budget}, by {tuning.search} search; seeds of the tuning: {seeds}.",
            NOTE,
            *_problems(tuned),
        ],
    )


def _cell(decision: Decision | None, index: int) -> Cell:
    if decision is None:
        return NOTHING
    measured = decision.measured[index]
    if measured.problem:
        return "failed"
    return Number(t_interval(measured.values), PERCENT, best=index == decision.winner)


def _problems(tuned: Sequence[TunedArm]) -> list[str]:
    """Returns sentences on candidates without a result, those of one reason in one."""
    said = [f"{each.arm.title}: tuning is not finished." for each in tuned if not each.decision]
    failed: dict[str, list[str]] = {}
    for each in tuned:
        for measured in each.decision.measured if each.decision else ():
            if measured.problem:
                names = failed.setdefault(measured.problem, [])
                names.append(f"{each.arm.title}: {measured.text}")
    for problem, names in failed.items():
        verb = "is" if len(names) == 1 else "are"
        said.append(f"{'; '.join(names)} {verb} out, since a run failed: {problem}")
    return said


def _plural(number: int, noun: str) -> str:
    return noun if number == 1 else f"{noun}s"
