"""Answers to many questions as text, CSV or JSON."""

import csv
import dataclasses
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from f3ocus_jax.evaluation.answering import Answer
from tfds_medvqa.common.printable import printable

COLUMNS = ("image", "question", "kind", "text", "probability", "present")
"""Columns of the CSV."""

ANSWER, FINDING = "answer", "finding"
"""Kinds of rows beside the name of the decoding, for the text that a model wrote."""


class Answered(NamedTuple):
    """A question with its answer.

    Attributes:
      image: Name of the image.
      question: Text of the question.
      answer: Answer of the model.
    """

    image: str
    question: str
    answer: Answer


def as_text(answered: Sequence[Answered], decoding: str) -> str:
    """Returns lines for people; a single question stands without its heading.

    Args:
      answered: Questions with their answers.
      decoding: Name of the decoding that wrote texts; "" for an answer head.
    """
    parts = []
    for one in answered:
        heading = [f"{printable(one.image)}: {printable(one.question)}"]
        lines = describe(one.answer, decoding)
        parts.append("\n".join([*(heading if len(answered) > 1 else []), *lines]))
    return "\n\n".join(parts)


def as_csv(answered: Sequence[Answered], decoding: str) -> str:
    """Returns a row per answer and finding, with its probability, under the names of `COLUMNS`."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(COLUMNS)
    for one in answered:
        for row in _rows(one.answer, decoding):
            cells = (one.image, one.question, *row)
            writer.writerow([printable(str(cell)) for cell in cells])
    return output.getvalue().removesuffix("\n")


def as_json(answered: Sequence[Answered], decoding: str) -> str:
    """Returns a list with an object per question, whose keys are the attributes of `Answer`."""
    content = [
        {"image": one.image, "question": one.question, "decoding": decoding}
        | dataclasses.asdict(one.answer)
        for one in answered
    ]
    return json.dumps(content, indent=2)


def describe(answer: Answer, decoding: str) -> Iterator[str]:
    """Yields the lines of an answer.

    Args:
      answer: The answer.
      decoding: Name of the decoding that wrote its text; "" for an answer head.
    """
    if decoding:
        yield f"{decoding}: {printable(answer.text)}"
    for text, probability in answer.probabilities.items():
        yield f"{probability:6.1%}  {printable(text)}"
    for finding, probability in answer.findings.items():
        verdict = "present" if finding in answer.present else "absent"
        yield f"{probability:6.1%}  {verdict:<7}  {printable(finding)}"


def _rows(answer: Answer, decoding: str) -> Iterator[tuple[object, ...]]:
    """Yields (kind, text, probability, present) of an answer, "" where there is none."""
    if decoding:
        yield decoding, answer.text, "", ""
    for text, probability in answer.probabilities.items():
        yield ANSWER, text, probability, ""
    for finding, probability in answer.findings.items():
        yield FINDING, finding, probability, "yes" if finding in answer.present else "no"


FORMATS: dict[str, Callable[[Sequence[Answered], str], str]] = {
    "text": as_text,
    "csv": as_csv,
    "json": as_json,
}
"""Maps the name of a format to its function of (answers, decoding)."""
