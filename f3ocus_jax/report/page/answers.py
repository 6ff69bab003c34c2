"""Answers of a run by kind of question, and those that training mended or spoilt."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from f3ocus_jax.evaluation import correctness, round_choice
from f3ocus_jax.report.page.source import RunSource, measured
from f3ocus_jax.types import ClientRecord

NO_KINDS = ("accuracy", "examples", "loss")
"""Metrics that are no kind of question or answer."""

TYPE = "type/"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Metric of one kind of question: its name, at the start and in the chosen round."""

    name: str
    start: float | None
    reached: float | None


@dataclasses.dataclass(frozen=True)
class Answers:
    """Answers of one client.

    Attributes:
      client: Its name.
      kinds: Its kinds of questions and answers.
      mended: Test answers that were wrong at the start and are right in the chosen round; None
        where the records do not keep which are right.
      spoilt: Test answers that were right and are wrong.
      total: Test answers.
    """

    client: str
    kinds: list[Kind]
    mended: int | None
    spoilt: int | None
    total: int | None


def answers(source: RunSource) -> list[Answers]:
    """Returns the answers of every client that has kinds of questions.

    Args:
      source: The run.
    """
    first = round_choice.evaluated(source.records)[0]
    chosen = round_choice.chosen_round(source.records)
    pairs = zip(first.clients, chosen.clients, strict=True)
    return [_answers(before, after) for before, after in pairs if measured(after)]


def _answers(before: ClientRecord, after: ClientRecord) -> Answers:
    start, reached = measured(before), measured(after)
    names = [name for name in dict.fromkeys([*reached, *start]) if name not in NO_KINDS]
    kinds = [
        Kind(name.removeprefix(TYPE).replace("_", " "), start.get(name), reached.get(name))
        for name in sorted(names, key=lambda name: (name.startswith(TYPE), name))
    ]
    changed = _changed(before.correct, after.correct)
    return Answers(after.client, kinds, *(changed or (None, None, None)))


def _changed(before: str, after: str) -> Sequence[int] | None:
    """Returns (mended, spoilt, all) answers; None unless both rounds keep the same ones."""
    if not before or not after:
        return None
    try:
        before_N, after_N = correctness.unpack(before), correctness.unpack(after)
    except ValueError:
        return None
    if len(before_N) != len(after_N):
        return None
    return int(np.sum(after_N & ~before_N)), int(np.sum(before_N & ~after_N)), len(after_N)
