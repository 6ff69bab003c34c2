"""Text files that are written in one step."""

import pathlib

import pytest

from tfds_medvqa.common import whole_file


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "names.json"
    for text in ("first", "zweites: ä"):
        whole_file.write(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "names.json"
    whole_file.write(path, "first")

    def fail(*arguments, **options):
        raise OSError("no space left")

    monkeypatch.setattr(pathlib.Path, "write_text", fail)
    with pytest.raises(OSError, match="no space"):
        whole_file.write(path, "second")
    assert path.read_text(encoding="utf-8") == "first"
