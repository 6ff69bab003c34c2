"""Verdict on a run: what each client reached against its start and its baselines."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from f3ocus_jax.evaluation import accuracy, round_choice
from f3ocus_jax.report.page.source import RunSource, measured
from f3ocus_jax.types import ClientRecord

PER_QUESTION, MAJORITY = "majority_per_question", "majority_answer"
NAMES = {PER_QUESTION: "the question's most common answer", MAJORITY: "the most common answer"}
CONSTANT = "the best constant prediction"
"""Name of the majority baseline of a client that finds diseases."""

WITHIN_CHANCE = ", within chance"

GOOD, EVEN, BAD = "good", "even", "bad"

TWO_SIDED_95 = 1.96
"""Standard errors on both sides of a normal value that hold it in 95 % of cases."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What one client reached.

    Attributes:
      client: Its name.
      examples: Examples on which it was measured; None in records without their number.
      start: Main metric before any training; None where it was not measured.
      reached: Main metric in the chosen round; None where it was not measured.
      baselines: Key of `NAMES` to the metric of that baseline.
      word: The verdict in words.
      tone: GOOD, EVEN or BAD.
    """

    client: str
    examples: int | None
    start: float | None
    reached: float | None
    baselines: Mapping[str, float]
    word: str
    tone: str


def outcomes(source: RunSource) -> list[Outcome]:
    """Returns the outcome of every client, in the federation's order.

    Args:
      source: The run.
    """
    first = round_choice.evaluated(source.records)[0]
    chosen = round_choice.chosen_round(source.records)
    rows = {row["client"]: row for row in source.summary.get("clients", ())}
    return [
        _outcome(before, after, rows.get(after.client, {}))
        for before, after in zip(first.clients, chosen.clients, strict=True)
    ]


def judge(
    start: float | None,
    reached: float,
    baselines: Sequence[tuple[str, float]],
    margin: Callable[[float], float],
) -> tuple[str, str]:
    """Puts an outcome into words.

    Args:
      start: Metric before any training; None if unknown.
      reached: Metric to judge.
      baselines: (name, metric) of each baseline.
      margin: Baseline to the difference from it that may be chance, see `margin_of`.

    Returns:
      (words, tone). A client that is below several baselines is called below the lowest of them.
    """
    ascending = sorted(baselines, key=lambda baseline: baseline[1])
    for name, value in ascending:
        if reached < value - margin(value):
            return f"below {name}", BAD
    for name, value in reversed(ascending):
        if reached <= value + margin(value):
            side = "above" if reached > value else "below" if reached < value else "equal to"
            return f"{side} {name}{'' if reached == value else WITHIN_CHANCE}", EVEN
    if ascending:
        both = "both baselines" if len(ascending) > 1 else ascending[0][0]
        return f"above {both}", GOOD
    if start is None:
        return "no baseline is known", EVEN
    return ("better" if reached > start else "no better") + " than at the start", EVEN


def margin_of(reached: float, baseline: float, examples: int | None) -> float:
    """Returns the difference of two accuracies that chance alone exceeds in 5 % of cases.

    It is 1.96 standard errors of the difference of two independent proportions, which is too wide
    rather than too narrow for answers to the same questions.

    Args:
      reached: Accuracy in [0, 1].
      baseline: Accuracy in [0, 1].
      examples: Number of answers; None for a metric that is no proportion, which has no margin.
    """
    if not examples:
        return 0.0
    variances = sum(max(0.0, share * (1 - share)) for share in (reached, baseline))
    return TWO_SIDED_95 * math.sqrt(variances / examples)


def headline(found: Sequence[Outcome]) -> list[tuple[str, list[str]]]:
    """Groups the clients by verdict, the worst first.

    Args:
      found: Outcomes from `outcomes`.

    Returns:
      (words, names of the clients) of every verdict.
    """
    groups: dict[tuple[int, str], list[str]] = {}
    for outcome in found:
        order = (BAD, EVEN, GOOD).index(outcome.tone)
        groups.setdefault((order, outcome.word), []).append(outcome.client)
    return [(word, names) for (_, word), names in sorted(groups.items())]


def mean(values: Sequence[float | None]) -> float | None:
    """Returns the mean over the clients that have a value; None if none has."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _outcome(before: ClientRecord, after: ClientRecord, row: Mapping[str, Any]) -> Outcome:
    start, reached = _metric(before), _metric(after)
    metrics = measured(after)
    examples = int(metrics["examples"]) if "examples" in metrics else None
    baselines = {kind: row[kind] for kind in NAMES if kind in row} if after.test else {}
    if reached is None:
        return Outcome(after.client, examples, start, None, baselines, "not measured", EVEN)
    counted = examples if "accuracy" in metrics else None
    names = NAMES if "accuracy" in metrics else dict.fromkeys(NAMES, CONSTANT)
    named = [(names[kind], value) for kind, value in baselines.items()]
    word, tone = judge(start, reached, named, lambda base: margin_of(reached, base, counted))
    return Outcome(after.client, examples, start, reached, baselines, word, tone)


def _metric(client: ClientRecord) -> float | None:
    metrics = measured(client)
    return accuracy.main_metric(metrics) if metrics else None
