"""Final table of a run: metrics, baselines and costs of every client."""

import json
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console

from f3ocus_jax.cost.traffic import ClientCost, megabits
from f3ocus_jax.evaluation import accuracy, round_choice
from f3ocus_jax.report import text_table
from f3ocus_jax.types import COMPILING, RoundRecord

COLUMNS = (
    ("Start %", "accuracy_start", 100, "{:.1f}"),
    ("Final %", "accuracy_final", 100, "{:.1f}"),
    ("Chosen %", "accuracy_chosen", 100, "{:.1f}"),
    ("Oracle best %", "accuracy_oracle", 100, "{:.1f}"),
    ("Majority %", "majority_answer", 100, "{:.1f}"),
    ("Majority per question %", "majority_per_question", 100, "{:.1f}"),
    ("Closed %", "closed", 100, "{:.1f}"),
    ("Open %", "open", 100, "{:.1f}"),
    ("F1 micro %", "f1_micro", 100, "{:.1f}"),
    ("F1 macro %", "f1_macro", 100, "{:.1f}"),
    ("Exact match %", "exact_match", 100, "{:.1f}"),
    ("MBit up", "megabits_up", 1, "{:.2f}"),
    ("MBit down", "megabits_down", 1, "{:.2f}"),
    ("MBit head", "megabits_head", 1, "{:.2f}"),
    ("MBit total", "megabits_total", 1, "{:.2f}"),
    ("Trained (M)", "trainable_parameters", 1e-6, "{:.4f}"),
    ("Head (M)", "head_parameters", 1e-6, "{:.4f}"),
    ("GFLOP / example", "gigaflops_per_example", 1, "{:.3g}"),
    ("GFLOP scoring", "gigaflops_scoring", 1, "{:.3g}"),
    ("GFLOP total", "gigaflops_total", 1, "{:.3g}"),
    ("s training", "seconds", 1, "{:.1f}"),
    ("s scoring", "seconds_scoring", 1, "{:.1f}"),
    ("s total", "seconds_total", 1, "{:.1f}"),
    ("Epsilon", "epsilon", 1, "{:.4g}"),
)
"""Heading, key in the summary, factor and format of every column after the client's name."""

KINDS = ("closed", "open", "f1_micro", "f1_macro", "exact_match")
"""Metrics of the last round that are columns, where a client has them."""

NO_MEAN = ("client", "oracle_round", "epsilon")
"""Entries of a client that are not averaged over clients."""

CUTS = ("MBit up", "GFLOP / example", "Closed %", "F1 micro %")
"""Columns before which a narrow terminal cuts the table: traffic, computation, kinds of metrics."""

NOTE = (
    "Start, final and chosen are accuracies on the test split, or micro F1 for a client that "
    "finds diseases, whose thresholds come from its validation split. Chosen is that of the round "
    "whose mean over the clients is best on validation examples, and of the last round without "
    "any. Oracle best is the client's best round on the test split itself: it says what a choice "
    "could reach, and is no result. Majority answers come from the training split; for findings "
    "they are the constant prediction with the best F1. The last row is the mean over clients, "
    "each of which counts once, whatever its size. Costs are those of a round, mean over the "
    "rounds. MBit up and down and millions of parameters (M) count the chosen layers; the head, "
    "which every client of its task trains and which is sent both ways, in the rounds that train "
    "it, is counted separately. MBit total holds all that is sent: layers, head, scores and the "
    "choice of layers. GFLOP total holds the training of layers and head and, with the typical "
    "number of Lanczos iterations, the scoring; not the evaluation, nor the server's search. "
    "Seconds are the measured time of all clients, which run in one program, without compiling, "
    "split in proportion to GFLOP: training times training examples, and scoring equally. The "
    "time of a round is the mean over the rounds, of all stages without compiling."
)

PRIVACY_NOTE = (
    "Epsilon is that of the client's training examples after the last round, with the delta above; "
    "docs/privacy.md says what it covers."
)


def summarise_run(
    records: Sequence[RoundRecord],
    costs: Sequence[ClientCost],
    baselines: Mapping[str, Mapping[str, float]],
) -> dict[str, Any]:
    """Gathers the final table as plain data.

    Args:
      records: Records of the run, round 0 first.
      costs: Cost of each client, from `traffic.client_costs`, in any order.
      baselines: "majority_answer" and "majority_per_question" to client to metric in [0, 1];
        missing values are left out of the table.

    Returns:
      `rounds`; `chosen_round` and `choice`, the reason for it; `clients`, one dict per client with
      its name, `oracle_round` and the keys of `COLUMNS`; `mean`, the mean of every number that
      all clients have; `seconds`, the run's total by stage, with what each compiled apart;
      `seconds_per_round`, the mean over the rounds without compiling, absent without any round;
      `epsilon`, the largest of any client, and `delta`, absent without differential privacy. An
      unknown number (no closed questions, no baseline) has no key.

    Raises:
      ValueError: if there are no records, or a client has no cost.
    """
    if not records:
        raise ValueError("0 records given; the table needs at least round 0: run at least one")
    costs_by_client = {cost.client: cost for cost in costs}
    names = [client.client for client in records[-1].clients]
    missing = [name for name in names if name not in costs_by_client]
    if missing:
        raise ValueError(f"no cost for client {missing[0]!r}; known: {sorted(costs_by_client)}")
    seconds = _training_seconds(records, [costs_by_client[name] for name in names])
    scoring = _mean_seconds(records, "importance") / len(names)
    chosen = round_choice.chosen_round(records)
    rows = [
        _accuracies(records, chosen, k)
        | {kind: values[name] for kind, values in baselines.items() if name in values}
        | _cost_columns(costs_by_client[name])
        | _known(epsilon=records[-1].clients[k].epsilon)
        | {
            "seconds": seconds[k],
            "seconds_scoring": scoring,
            "seconds_total": seconds[k] + scoring,
        }
        for k, name in enumerate(names)
    ]
    return {
        "rounds": records[-1].round,
        "chosen_round": chosen.round,
        "choice": round_choice.reason(chosen.validation),
        "clients": rows,
        "mean": _mean(rows),
        "seconds": _seconds_by_stage(records),
        **_known(epsilon=records[-1].epsilon, delta=records[-1].delta),
    } | _seconds_per_round(records)


def _known(**values: float | None) -> dict[str, float]:
    """Returns the entries that have a value."""
    return {name: value for name, value in values.items() if value is not None}


def print_table(summarised: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the table: in one piece, in several, or as a list, depending on the width.

    Args:
      summarised: Summary from `summarise_run`.
      console: Console to print to; standard output by default.
    """
    console = console or Console()
    cells = _cells(summarised)
    cuts = [cells[0].index(heading) for heading in CUTS if heading in cells[0]]
    text_table.print_cells(cells, console, cuts)
    console.print(_totals(summarised), markup=False, highlight=False)


def print_accuracies(
    reports: Mapping[str, Mapping[str, float]], console: Console | None = None
) -> None:
    """Prints the metrics of one model on every client's test split, by kind of question.

    Args:
      reports: Client to its `ClientMetrics.test`.
      console: Console to print to; standard output by default.
    """
    names = list(dict.fromkeys(metric for report in reports.values() for metric in report))
    headings = [
        name.capitalize()
        if name in ("examples", "loss")
        else f"{name.removeprefix('type/').replace('_', ' ').capitalize()} %"
        for name in names
    ]
    mean = _mean([{"client": client, **report} for client, report in reports.items()])
    rows = [*({"client": client, **report} for client, report in reports.items()), mean]
    body = [[row["client"], *(_format_metric(name, row) for name in names)] for row in rows]
    text_table.print_cells([["Client", *headings], *body], console or Console())


def write_table(
    summarised: Mapping[str, Any], directory: str | os.PathLike[str]
) -> list[pathlib.Path]:
    """Writes table.md for people and table.json for programs.

    Args:
      summarised: Summary from `summarise_run`.
      directory: Output folder; created if absent.

    Returns:
      The files written.
    """
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    markdown, data = folder / "table.md", folder / "table.json"
    text = f"{text_table.markdown(_cells(summarised))}\n\n{_totals(summarised)}\n\n{NOTE}\n"
    if "epsilon" in summarised:
        text += f"\n{PRIVACY_NOTE}\n"
    markdown.write_text(text, encoding="utf-8")
    data.write_text(json.dumps(summarised, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return [markdown, data]


def _accuracies(records: Sequence[RoundRecord], chosen: RoundRecord, k: int) -> dict[str, Any]:
    """Returns the accuracy columns of client k, those of the rounds in which it was measured."""
    measured = round_choice.evaluated(records)
    tests = {record.round: record.clients[k].test for record in measured}
    history = {number: accuracy.main_metric(test) for number, test in tests.items() if test}
    numbers = (measured[0].round, measured[-1].round, chosen.round)
    columns = zip(("accuracy_start", "accuracy_final", "accuracy_chosen"), numbers, strict=True)
    row: dict[str, Any] = {"client": records[-1].clients[k].client}
    row |= {column: history[number] for column, number in columns if number in history}
    if history:
        best = max(history, key=lambda number: history[number])
        row |= {"accuracy_oracle": history[best], "oracle_round": best}
    last = tests[measured[-1].round]
    return row | {kind: last[kind] for kind in KINDS if kind in last}


def _cost_columns(cost: ClientCost) -> dict[str, float]:
    """Returns the columns of costs, without those that are unknown."""
    columns = {
        "megabits_up": cost.megabits_up,
        "megabits_down": cost.megabits_down,
        "megabits_head": megabits(cost.head_parameters),
        "trainable_parameters": cost.trainable_parameters,
        "head_parameters": cost.head_parameters,
        "megabits_total": cost.megabits_total,
        "gigaflops_per_example": cost.gigaflops_per_example,
        "gigaflops_scoring": cost.gigaflops_scoring,
        "gigaflops_total": cost.gigaflops_total,
    }
    return {key: value for key, value in columns.items() if value is not None}


def _training_seconds(records: Sequence[RoundRecord], costs: Sequence[ClientCost]) -> list[float]:
    """Splits the mean training seconds of a round in proportion to every client's work."""
    work_K = np.array(
        [
            client.train_examples * cost.gigaflops_per_example
            for client, cost in zip(records[-1].clients, costs, strict=True)
        ]
    )
    if work_K.sum() == 0:
        return [0.0] * len(costs)
    return (_mean_seconds(records, "training") * work_K / work_K.sum()).tolist()


def _mean_seconds(records: Sequence[RoundRecord], stage: str) -> float:
    """Returns the mean wall time of a stage over the rounds that have it; 0 if none has."""
    measured = [record.seconds[stage] for record in records if stage in record.seconds]
    return float(np.mean(measured)) if measured else 0.0


def _seconds_by_stage(records: Sequence[RoundRecord]) -> dict[str, float]:
    """Adds up the wall time of every stage."""
    totals: dict[str, float] = {}
    for record in records:
        for stage, value in record.seconds.items():
            totals[stage] = totals.get(stage, 0.0) + value
    return totals


def _seconds_per_round(records: Sequence[RoundRecord]) -> dict[str, float]:
    """Returns the mean time of a round without compiling, as an entry of the summary."""
    measured = [record.steady_seconds for record in records if record.round > 0]
    return {"seconds_per_round": float(np.mean(measured))} if measured else {}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Averages every number that all clients have; each client counts once, whatever its size.

    The paper does not say how its "overall" is made: of the eight rows of its table of methods, two
    are this mean (PromptFL, F³OCUS), the others 1.0 to 2.3 above it.
    """
    shared = [key for key in rows[0] if all(key in row for row in rows)]
    numbers = [key for key in shared if key not in NO_MEAN]
    return {"client": "mean"} | {key: float(np.mean([row[key] for row in rows])) for key in numbers}


def _cells(summarised: Mapping[str, Any]) -> list[list[str]]:
    """Returns the table as text: heading first, mean last, without columns that have no value."""
    rows = [*summarised["clients"], summarised["mean"]]
    columns = [column for column in COLUMNS if any(column[1] in row for row in rows)]
    body = [
        [
            row["client"],
            *(
                form.format(factor * row[key]) if key in row else "-"
                for _, key, factor, form in columns
            ),
        ]
        for row in rows
    ]
    return [["Client", *(heading for heading, *_ in columns)], *body]


def _format_metric(name: str, row: Mapping[str, Any]) -> str:
    """Formats one metric: a count, a loss in nats, or an accuracy in percent."""
    if name not in row:
        return "-"
    if name == "examples":
        return f"{row[name]:.0f}"
    return f"{row[name]:.3f}" if name == "loss" else f"{100 * row[name]:.1f}"


def _totals(summarised: Mapping[str, Any]) -> str:
    """Describes in one line the run's wall time by stage, and the chosen round."""
    seconds = summarised["seconds"]
    stages = {key: value for key, value in seconds.items() if not key.startswith(COMPILING)}
    stages[COMPILING.strip()] = sum(seconds[key] for key in seconds.keys() - stages.keys())
    listed = ", ".join(f"{stage} {value:.1f}" for stage, value in stages.items())
    parts = [f"{summarised['rounds']} rounds, {sum(seconds.values()):.1f} s in all: {listed}"]
    if "seconds_per_round" in summarised:
        parts.append(f"{summarised['seconds_per_round']:.3g} s / round without compiling")
    if "epsilon" in summarised:
        parts.append(f"epsilon {summarised['epsilon']:.4g} at delta {summarised['delta']:g}")
    parts.append(f"round {summarised['chosen_round']} is chosen, {summarised['choice']}")
    return "; ".join(parts)
