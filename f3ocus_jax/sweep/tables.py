"""Tables of a sweep: layer selection, parameter-efficient fine-tuning, server's searches, tests."""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from f3ocus_jax.selection import METAHEURISTICS
from f3ocus_jax.sweep import comparison_table, formats, intervals, paper_figures
from f3ocus_jax.sweep.arms import PEFT, Arm
from f3ocus_jax.sweep.formats import NOTHING, Cell, Number, Table
from f3ocus_jax.sweep.intervals import Interval
from f3ocus_jax.sweep.results import RunResult
from f3ocus_jax.sweep.study import Column, Comparison, Study, column_name
from f3ocus_jax.types import COMPILING

SEARCHES = (*METAHEURISTICS, "exact")
"""Selectors that the comparison of searches holds, in its order."""

PERCENT = 100.0

PEFT_COSTS = (
    ("MBit", "megabits_up", "megabits", 1.0),
    ("GFLOP", "gigaflops_per_example", "gigaflops", 1.0),
    ("Param (M)", "trainable_parameters", "millions", 1e-6),
)
"""Heading, cost of a run, column of the paper and factor of the costs in the PEFT table."""

COST_NOTE = (
    "MBit: sent up per client and round, chosen layers without the head. GFLOP: per example. "
    "Param: parameters that a client trains, without the head."
)
PAPER_NOTE = "Rows and columns named paper are published single values, without intervals."


def make_all(study: Study) -> list[Table]:
    """Makes every table that a study has data for, in the order of the report."""
    made = [layer_selection(study)]
    for number, column in enumerate(study.columns, start=1):
        made += [peft(study, column, number), searches(study, column, number)]
        made.append(comparison_table.comparisons(study, column, number))
    return [table for table in made if table is not None]


def layer_selection(study: Study) -> Table | None:
    """Makes table 1: methods of layer selection by tasks and families.

    Args:
      study: Results.

    Returns:
      The table, in percent; None if no run selects layers.
    """
    arms = [arm for arm in study.arms if arm.method not in PEFT]
    if not arms:
        return None
    header, columns = ["Method"], []
    for column in study.columns:
        header.append(f"{column_name(column)} %")
        columns.append(_marked(study, column, arms))
        published = [_published(arm, column) for arm in arms]
        if any(isinstance(cell, Number) for cell in published):
            header.append(f"{column_name(column)}, paper %")
            columns.append(published)
    rows = [
        [arm.title, *cells] for arm, cells in zip(arms, zip(*columns, strict=True), strict=True)
    ]
    return Table(
        "table_1_layer_selection",
        "Table 1: layer selection",
        header,
        rows,
        [
            "Mean over clients, each of which counts once, then over seeds, ± half of the 95 % "
            "t-interval over seeds; bold: the best mean of the column.",
            *_mark_notes(study, columns),
            _seeds_note(study, arms),
            *([PAPER_NOTE] if len(header) > len(study.columns) + 1 else []),
        ],
    )


def peft(study: Study, column: Column, number: int) -> Table | None:
    """Makes table 2 of a task and family: costs and accuracy per client of the PEFT methods.

    Args:
      study: Results.
      column: Task and family.
      number: Number of the column in the report, which the file's name ends in.

    Returns:
      The table; None if no run of the column is one of a PEFT method.
    """
    arms = [arm for arm in study.arms_of(column) if arm.method in (*PEFT, study.reference)]
    if not any(arm.method in PEFT for arm in arms):
        return None
    clients = study.clients(column)
    paper = paper_figures.task_of(column[0]) == 1 and column[1] in ("", "vilt")
    overall = _marked(study, column, arms)
    body: list[list[Cell]] = []
    for arm, mean in zip(arms, overall, strict=True):
        runs = study.runs(column, arm)
        costs = [_cost(runs, name, factor) for _, name, _, factor in PEFT_COSTS]
        body.append([arm.title, *costs, *(_client(runs, name) for name in clients), mean])
        if paper and not arm.setting and arm.method in paper_figures.TABLE_2:
            body.append(_published_row(arm, clients))
    names = [f"{name} %" for name in clients]
    header = ["Method", *(heading for heading, *_ in PEFT_COSTS), *names, "Overall %"]
    notes = [COST_NOTE, *_mark_notes(study, [overall]), _seeds_note(study, arms, [column])]
    title = f"Table 2: parameter-efficient fine-tuning, {column_name(column)}"
    return Table(
        f"table_2_peft_{number}", title, header, body, [*notes, *([PAPER_NOTE] if paper else [])]
    )


def searches(study: Study, column: Column, number: int) -> Table | None:
    """Makes the comparison of the server's searches on a task and family.

    Args:
      study: Results.
      column: Task and family.
      number: Number of the column in the report.

    Returns:
      The table: accuracy, hypervolume, seconds of search per round and those of compiling it; None
      for fewer than two searches, among which there is nothing to compare.
    """
    found: dict[str, list[tuple[Arm, list[RunResult]]]] = {}
    for arm in study.arms_of(column):
        runs = study.runs(column, arm)
        found.setdefault(runs[0].algorithm, []).append((arm, runs))
    rows = [(name, arm, runs) for name in SEARCHES for arm, runs in found.get(name, [])]
    if len({name for name, *_ in rows}) < 2:
        return None
    accuracy = _bold([Number(study.accuracy(column, arm), PERCENT) for _, arm, _ in rows])
    volume = _bold([Number(_over(runs, _hypervolume), digits=4) for *_, runs in rows])
    seconds = [Number(_over(runs, _search_seconds), digits=None) for *_, runs in rows]
    compiling = [Number(_over(runs, _compiling_seconds), digits=None) for *_, runs in rows]
    body = [
        [name, arm.title, *cells]
        for (name, arm, _), cells in zip(
            rows, zip(accuracy, volume, seconds, compiling, strict=True), strict=True
        )
    ]
    return Table(
        f"searches_{number}",
        f"Searches of the server, {column_name(column)}",
        ["Search", "Runs", "Accuracy %", "Hypervolume", "s / round", "s compiling"],
        body,
        [
            "Hypervolume: mean over rounds of the front's, inside the box of its seeds; larger is "
            "better, and fronts of different scores do not compare. s / round: wall time of the "
            "search without compiling; s compiling: what the search of a run compiled, which is "
            "little where another run did so before. The paper publishes no such table.",
            _seeds_note(study, [arm for _, arm, _ in rows], [column]),
        ],
    )


def _marked(study: Study, column: Column, arms: Sequence[Arm]) -> list[Cell]:
    """Returns the accuracies of a column, the best bold, with marks of what is not separated."""
    compared = {each.arm: each for each in study.compare(column)}
    cells: list[Cell] = []
    for arm in arms:
        if not study.runs(column, arm):
            cells.append(NOTHING)
            continue
        cells.append(Number(study.accuracy(column, arm), PERCENT, mark=_mark(compared.get(arm))))
    return _bold(cells)


def _mark(compared: Comparison | None) -> str:
    if compared is None or compared.separated:
        return ""
    return "untested" if compared.reason else "same"


def _bold(cells: Sequence[Cell]) -> list[Cell]:
    """Marks the best of several numbers, where there is more than one."""
    means = [cell.value.mean for cell in cells if isinstance(cell, Number)]
    best = max((mean for mean in means if not math.isnan(mean)), default=math.nan)
    return [
        dataclasses.replace(cell, best=len(means) > 1 and cell.value.mean == best)
        if isinstance(cell, Number)
        else cell
        for cell in cells
    ]


def _mark_notes(study: Study, columns: Sequence[Sequence[Cell]]) -> list[str]:
    used = {cell.mark for cells in columns for cell in cells if isinstance(cell, Number)}
    title = Arm(study.reference).title
    notes = {
        "same": f"†: cannot be separated from {title}.",
        "untested": f"‡: not tested against {title}; the table of tests says why.",
    }
    return [notes[mark] for mark in ("same", "untested") if mark in used]


def _seeds_note(study: Study, arms: Sequence[Arm], columns: Sequence[Column] | None = None) -> str:
    counts = {
        len(study.runs(column, arm)) for column in columns or study.columns for arm in arms
    } - {0}
    if counts == {1}:
        return "n = 1 seed in every cell: observations without intervals."
    return f"n = {formats.span(counts)} seeds{' in every cell' if len(counts) == 1 else ''}."


def _published(arm: Arm, column: Column) -> Cell:
    task = paper_figures.task_of(column[0])
    value = paper_figures.TABLE_1.get((arm.method, task or 0, column[1] or "vilt"))
    return NOTHING if value is None or arm.setting else Number(_single(value), digits=2)


def _published_row(arm: Arm, clients: Sequence[str]) -> list[Cell]:
    """Returns the paper's row of table 2, its clients found by the beginning of their names."""
    row = paper_figures.TABLE_2[arm.method]
    known = {name: next((key for key in row if name.startswith(key)), "") for name in clients}
    costs: list[Cell] = [Number(_single(row[key]), digits=None) for _, _, key, _ in PEFT_COSTS]
    values: list[Cell] = [
        Number(_single(row[known[name]]), digits=2) if known[name] else NOTHING for name in clients
    ]
    return [f"{arm.title}, paper", *costs, *values, Number(_single(row["overall"]), digits=2)]


def _single(value: float) -> Interval:
    return Interval(value, math.nan, math.nan, 1, "published without an interval")


def _cost(runs: Sequence[RunResult], name: str, factor: float) -> Cell:
    values = [run.costs[name] for run in runs if name in run.costs]
    if not values:
        return NOTHING
    return Number(_single_cost(float(np.mean(values)), len(values)), factor, digits=None)


def _single_cost(value: float, runs: int) -> Interval:
    return Interval(value, math.nan, math.nan, runs, "mean over runs")


def _client(runs: Sequence[RunResult], name: str) -> Number:
    values = [run.clients[name].metrics["accuracy"] for run in runs]
    return Number(intervals.t_interval(values), PERCENT)


def _over(runs: Sequence[RunResult], measure: Callable[[RunResult], float]) -> Interval:
    return intervals.t_interval([measure(run) for run in runs])


def _hypervolume(run: RunResult) -> float:
    return math.nan if run.hypervolume is None else run.hypervolume


def _search_seconds(run: RunResult) -> float:
    rounds = len(run.rounds) - 1
    return run.seconds["selection"] / rounds if "selection" in run.seconds and rounds else math.nan


def _compiling_seconds(run: RunResult) -> float:
    return run.seconds.get(f"{COMPILING}selection", math.nan)
