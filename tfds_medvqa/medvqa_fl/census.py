"""Number of questions of every type for each client.

The type depends on the image's id alone, so that no file is needed: `python -m
tfds_medvqa.medvqa_fl.census` prints the table of this folder's README.md.
"""

import collections
from collections.abc import Iterator, Mapping

from tfds_medvqa.common.features import QUESTION_TYPES
from tfds_medvqa.medvqa_fl import records
from tfds_medvqa.medvqa_fl.questions import question_type
from tfds_medvqa.medvqa_fl.records import Record
from tfds_medvqa.medvqa_fl.sources import SOURCES

PAPER_SHARES = {
    "modality recognition": 0.10,
    "anatomy": 0.20,
    "disease diagnosis": 0.39,
    "disease grading": 0.01,
    "tissue identification": 0.20,
    "biological attributes": 0.10,
}
"""Fraction of every question type in MedVQA-FL (F³OCUS, section 4)."""


def count(known: Mapping[str, Record]) -> dict[str, collections.Counter[str]]:
    """Counts the question types of every client.

    Args:
      known: Subset name to MedMNIST's record.

    Returns:
      Client to (question type to number of triplets).
    """
    found: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for name, source in SOURCES.items():
        types = (question_type(image_id, name) for image_id in known[name].image_ids())
        found[source.client].update(types)
    return dict(found)


def table(found: Mapping[str, collections.Counter[str]]) -> Iterator[str]:
    """Yields the lines of a Markdown table: clients, total, its fractions, and the paper's."""
    yield f"| client | {' | '.join(QUESTION_TYPES)} |"
    yield "|---" * (1 + len(QUESTION_TYPES)) + "|"
    overall = sum(found.values(), collections.Counter[str]())
    named = {f"`{client}`": row for client, row in found.items()} | {"all": overall}
    for name, row in named.items():
        yield _line(name, [f"{row[kind]:,}".replace(",", " ") for kind in QUESTION_TYPES])
    total = sum(overall.values())
    yield _line("share", [f"{overall[kind] / total:.1%}" for kind in QUESTION_TYPES])
    yield _line("paper", [f"{PAPER_SHARES[kind]:.0%}" for kind in QUESTION_TYPES])


def _line(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    print("\n".join(table(count(records.load()))))
