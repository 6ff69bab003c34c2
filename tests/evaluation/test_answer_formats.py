"""Answers as text, CSV and JSON: the same numbers, and hostile text stays text."""

import csv
import io
import json

import pytest

from f3ocus_jax.evaluation.answer_formats import COLUMNS, FORMATS, Answered
from f3ocus_jax.evaluation.answering import Answer
from tests.helpers.hostile import NAMES, is_harmless

ANSWERED = [
    Answered("a.png", "which organ?", Answer("lung", {"lung": 0.75, "liver": 0.125})),
    Answered("b.png", "report", Answer(findings={"edema": 0.5, "mass": 0.25}, present=("edema",))),
]


def test_text_has_a_heading_per_question_unless_there_is_one():
    assert FORMATS["text"](ANSWERED[:1], "") == " 75.0%  lung\n 12.5%  liver"
    first, second = FORMATS["text"](ANSWERED, "").split("\n\n")
    assert first == "a.png: which organ?\n 75.0%  lung\n 12.5%  liver"
    assert second == "b.png: report\n 50.0%  present  edema\n 25.0%  absent   mass"


def test_csv_has_a_row_per_answer_and_finding():
    rows = list(csv.reader(io.StringIO(FORMATS["csv"](ANSWERED, "greedy"))))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1:4] == [
        ["a.png", "which organ?", "greedy", "lung", "", ""],
        ["a.png", "which organ?", "answer", "lung", "0.75", ""],
        ["a.png", "which organ?", "answer", "liver", "0.125", ""],
    ]
    assert rows[5:] == [
        ["b.png", "report", "finding", "edema", "0.5", "yes"],
        ["b.png", "report", "finding", "mass", "0.25", "no"],
    ]


def test_json_has_an_object_per_question():
    first, second = json.loads(FORMATS["json"](ANSWERED, ""))
    assert first["question"] == "which organ?"
    assert first["probabilities"] == {"lung": 0.75, "liver": 0.125}
    assert (second["image"], second["present"]) == ("b.png", ["edema"])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_hostile_questions_and_answers_stay_text(form, name):
    answered = [Answered(name, name, Answer(name, {name: 0.5}, {name: 0.5}, (name,)))] * 2
    text = FORMATS[form](answered, "greedy")
    assert is_harmless(text)
    if form == "csv":
        rows = list(csv.reader(io.StringIO(text)))
        assert {len(row) for row in rows} == {len(COLUMNS)}
        assert len(rows) == 1 + 2 * 3
    if form == "json":
        assert json.loads(text)[0]["question"] == name
