"""Text, JSON and CSV files are read alike whatever their line ends, their mark and the locale."""

import gzip
import json
import os
import subprocess
import sys

import pytest

from tests.helpers.paths import REPOSITORY
from tests.tfds_medvqa.dummy_builds import dummy_folder
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.rows import RowError
from tfds_medvqa.common.tables import json_rows, piped_rows, read_text, table_rows

ODD = "a\u2028b\u2029c\u0085d\x0ce\x0bf\x1cg"
"""A text with characters that Python's `splitlines` takes for the end of a line."""
MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_between_bars_end_at_newlines_alone(end, tmp_path):
    path = tmp_path / "pairs.txt"
    for mark in (b"", MARK):
        path.write_bytes(mark + f"one|{ODD}|yes{end}two|q|no{end}".encode())
        rows = list(piped_rows(path, ("image", "question", "answer")))
        assert [row.text("image") for row in rows] == ["one", "two"]
        assert rows[0].text("question") == ODD
        assert rows[1].where.endswith("pairs.txt, line 2")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_rows_of_a_table_end_at_newlines_alone(end, pack, tmp_path):
    path = tmp_path / "table.csv.gz"
    for mark in (b"", MARK):
        content = f'image,question{end}1,"{ODD}"{end}2,"two{end}lines"{end}'
        path.write_bytes(pack(mark + content.encode()))
        rows = list(table_rows(path, ("image", "question")))
        assert [row.text("question") for row in rows] == [ODD, f"two{end}lines"]


def test_a_json_file_may_begin_with_a_mark(tmp_path):
    path = tmp_path / "rows.json"
    for mark in (b"", MARK):
        path.write_bytes(mark + json.dumps([{"question": ODD}], ensure_ascii=False).encode())
        (row,) = json_rows(path)
        assert row.text("question") == ODD


@pytest.mark.parametrize(
    ("line", "problem"), [("1", "not as many fields"), ("1,2,3", "not as many fields")]
)
def test_a_row_of_another_length_is_named(line, problem, tmp_path):
    path = tmp_path / "table.csv"
    path.write_text(f"image,question\n{line}\n", encoding="utf-8")
    (row,) = table_rows(path, ("image", "question"))
    with pytest.raises(RowError, match=rf"table\.csv, line 2 has {problem}"):
        row.text("image")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08\x00 cut", "cannot be read as a table"),
        (b"image,question\n\xff,1\n", "is no text in UTF-8"),
        ("image,question\n".encode("utf-16"), "is no text in UTF-8"),
        (b"image,question\n1,\x00\n" + b"1," + b"x" * 200_000 + b"\n", "cannot be read as a table"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"", "the file is empty"),
    ],
)
def test_a_file_that_is_no_table_is_named_in_one_line(content, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(BuildError, match=rf"table\.csv: .*{message}") as error:
        list(table_rows(path, ("image", "question")))
    assert "\n" not in str(error.value)


def test_text_that_is_in_neither_encoding_is_named(tmp_path):
    path = tmp_path / "report.txt"
    path.write_bytes(b"a \x81 b")
    with pytest.raises(BuildError, match=r"report\.txt: byte 2 is 0x81"):
        read_text(path)


@pytest.mark.extended
def test_nothing_depends_on_the_locale(tmp_path):
    arguments = [
        *("f3ocus_jax.inspect_data", "--config=phantom:tiny", f"--workdir={tmp_path}/page"),
        *(f"--config.data.data_dir={tmp_path}/data", '--config.data.datasets=("slake/bilingual",)'),
        *('--config.data.partition=("dataset",)', f"--config.data.manual_dir={tmp_path}/release"),
    ]
    (tmp_path / "release").symlink_to(dummy_folder("slake"))
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=os.environ | ascii_only,
        capture_output=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()
    assert "有" in (tmp_path / "page" / "data.html").read_text(encoding="utf-8")
