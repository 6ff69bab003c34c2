"""What a run says about the questions it cuts and the tokens it does not know."""

import pytest

from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_federation
from f3ocus_jax.data.text_report import TextReport, check_known, report_texts
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError
from tests.helpers import own_files
from tests.helpers.tables import data_config, table

LONG = " ".join(["image"] * 30)


def test_counts_are_those_of_the_examples_of_all_splits():
    splits = {
        "train": table([1, 2, 3], "abc", question=["why?", LONG, LONG]),
        "test": table([4], "a", question=["日 why?"]),
    }
    (report,) = report_texts({"Oslo": splits}, load_tokenizer(), 20)
    assert report == TextReport("Oslo", 4, 1 / (4 + 2 * 32 + 5), 2, 32)


def test_the_share_of_unknown_tokens_is_counted_by_language():
    splits = {
        "train": table([1, 2], "ab", question=["why?", "日 why?"], language=["en", "zh"]),
        "test": table([3], "a", question=["日 日"], language=["zh"]),
    }
    (report,) = report_texts({"Oslo": splits}, load_tokenizer(), 20)
    # Nine tokens, three of them unknown: [CLS] 日 why ? [SEP] and [CLS] 日 日 [SEP].
    assert report.unknown_by_language == {"en": 0.0, "zh": 3 / 9}
    assert "unknown (zh 33.3 %, en 0.0 %)" in report.line(20)
    with pytest.raises(ConfigError, match=r"tokenizer \(zh 33.3 %, en 0.0 %\), more than"):
        check_known([report], 0.1)


def test_a_line_says_only_what_is_to_be_said():
    assert TextReport("Oslo", 4, 0.0, 0, 12).line(20) == ""
    line = TextReport("Oslo", 4, 0.125, 2, 32).line(20)
    assert "12.5 % of the questions' tokens are unknown" in line
    assert "2 of 4 questions lose their end: the longest has 32 tokens" in line


def foreign_config(tmp_path, **settings):
    rows = own_files.make_rows(4)
    rows = [
        {**row, "question": "在哪里 is it?"} if row["hospital"] == "Bern" else row for row in rows
    ]
    own_files.write_pictures(tmp_path / "own", rows)
    own_files.write_csv(tmp_path / "own" / "rows.csv", rows)
    return data_config(tmp_path, f"files:{tmp_path / 'own'}", partition=("client",), **settings)


def test_a_language_that_the_tokenizer_does_not_know_stops_the_run_or_is_said(tmp_path):
    def read(**settings):
        config = foreign_config(tmp_path, **settings)
        return read_federation(config, canvas=Canvas(8), tokenizer=load_tokenizer())

    with pytest.raises(ConfigError, match=r"tokens in questions of client Bern are unknown"):
        read()
    summary = read(max_unknown_share=0.9).summary
    shares = {text.client: text.unknown_share for text in summary.texts}
    assert shares["Oslo"] == 0
    assert 0.2 < shares["Bern"] < 0.9
    (line,) = [line for line in summary.lines() if "unknown" in line]
    assert line.strip().startswith("Bern")
