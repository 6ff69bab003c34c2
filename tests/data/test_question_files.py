"""Files of questions: what is read, and the row that is named where it cannot be."""

import json
import pathlib

import pytest

from f3ocus_jax import predict
from f3ocus_jax.data.question_files import Asked, read_questions
from f3ocus_jax.errors import ConfigError, DataError

SCAN = pathlib.Path("scan.png")


def test_a_csv_names_images_beside_it_or_takes_the_common_one(tmp_path):
    path = tmp_path / "questions.CSV"
    path.write_text('\ufeffimage,question\na.png,"is it, maybe, a cyst?"\n,which organ?\n')
    found = read_questions(path, SCAN)
    assert found == [
        Asked(tmp_path / "a.png", "is it, maybe, a cyst?"),
        Asked(SCAN, "which organ?"),
    ]


def test_json_lines_need_no_image_where_one_is_given(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [{"question": "大学病院?"}, {"question": "b", "image": str(tmp_path / "x.png")}]
    path.write_text("\n\n".join(json.dumps(row) for row in rows) + "\n")
    assert read_questions(path, SCAN) == [Asked(SCAN, "大学病院?"), Asked(tmp_path / "x.png", "b")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("q.txt", "question\na\n", "must be in a file .csv or .jsonl"),
        ("q.csv", "question\n", "holds no question"),
        ("q.csv", "text\na\n", "row 1: no text under 'question'"),
        ("q.csv", "question\na\n", "row 1: no name under 'image', and no image is given for all"),
        ("q.csv", 'question\n"a\n', "cannot be read as .csv"),
        ("q.jsonl", '{"question": "a", "image": "b"}\n["c"]\n', "row 2: no text"),
        ("q.jsonl", '{"question": 3}\n', "row 1: no text"),
        ("q.jsonl", '{"question": "a", "image": 3}\n', "row 1: no name"),
        ("q.jsonl", "{\n", "cannot be read as .jsonl"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_questions(tmp_path / name, None)


def test_the_questions_of_the_command_line_come_first(tmp_path):
    path = tmp_path / "q.csv"
    path.write_text("question\nc\n")
    found = predict.questions_of("scan.png", ["a", "b"], str(path))
    assert [one.question for one in found] == ["a", "b", "c"]
    assert {one.image for one in found} == {SCAN}
    with pytest.raises(ConfigError, match="no question is given"):
        predict.questions_of("scan.png", [], None)
    with pytest.raises(ConfigError, match="needs the image"):
        predict.questions_of(None, ["a"], str(path))
