"""A folder's index finds what a search of every sub-folder finds, and reads each of them once."""

import os

import pytest

from tests.helpers.marking import marked
from tfds_medvqa.common import folder_index
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.folder_index import FolderIndex
from tfds_medvqa.common.rows import Reason, Row, RowError
from tfds_medvqa.common.source_folder import Origin, SourceFolder

ORIGIN = Origin("A set", "https://example.org", "CC0")


def write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(root, name, *wanted):
    place = FolderIndex(root).find(name, *wanted)
    return place and place[1].relative_to(root).as_posix()


def test_the_first_place_by_depth_then_by_name_is_found(tmp_path):
    write(tmp_path, "b/deep/x.txt", "c/x.txt", "b/x.txt", "b/images/1.png")
    assert found(tmp_path, "x.txt") == "b/x.txt"
    assert found(tmp_path, "images/1.png") == "b/images/1.png"
    assert found(tmp_path, "deep/x.txt") == "b/deep/x.txt"
    assert found(tmp_path, "y.txt") is None


def test_case_is_ignored_where_no_name_of_that_depth_is_exact(tmp_path):
    write(tmp_path, "a/IMAGES/One.PNG", "b/images/one.png", "c/Two.PNG")
    assert found(tmp_path, "images/one.png") == "b/images/one.png"
    assert found(tmp_path, "Images/ONE.png") == "a/IMAGES/One.PNG"
    assert found(tmp_path, "two.png") == "c/Two.PNG"


def test_a_folder_does_not_hide_a_file_of_its_name(tmp_path):
    write(tmp_path, "data/inner.txt", "later/data")
    assert found(tmp_path, "data", os.path.isfile) == "later/data"
    assert found(tmp_path, "data", os.path.isdir) == "data"


def test_three_levels_are_searched_and_three_below_wget_s_folder(tmp_path):
    write(tmp_path, "1/2/3/x.txt", "1/2/3/4/y.txt")
    mirror = "1/2/3/physionet.org/files/name/1.0"
    write(tmp_path, f"{mirror}/z.txt", f"{mirror}/deeper/u.txt")
    assert found(tmp_path, "x.txt") == "1/2/3/x.txt"
    assert found(tmp_path, "y.txt") is None
    assert found(tmp_path, "z.txt") == f"{mirror}/z.txt"
    assert found(tmp_path, "u.txt") is None


def test_what_macos_adds_and_what_cannot_be_named_is_not_found(tmp_path):
    write(tmp_path, "__MACOSX/x.txt", "a/._x.txt")
    for name in ("x.txt", "._x.txt", "n" * 5000, "a/" + "n" * 5000, "a/\0"):
        assert found(tmp_path, name) is None


@pytest.mark.parametrize("files", marked([20, 2000], extended=[2000]))
def test_every_folder_is_read_once_however_many_files_are_looked_up(files, tmp_path, monkeypatch):
    names = [f"images/{number:04d}.png" for number in range(files)]
    write(tmp_path, *(f"release/{name}" for name in names))
    read, scandir = [], os.scandir
    monkeypatch.setattr(
        folder_index.os, "scandir", lambda path: [read.append(path), scandir(path)][1]
    )
    source, row = SourceFolder(tmp_path, ORIGIN), Row("row", {})
    for name in names:
        assert source.named_file(row, name) == tmp_path / "release" / name
        assert source.named_file(row, name.upper()) == tmp_path / "release" / name
        with pytest.raises(RowError) as error:
            source.named_file(row, f"images/no{name[7:]}")
        assert error.value.reason == Reason.ABSENT_FILE
    assert len(read) <= 7  # three folders, for their names and their sub-folders


def test_a_table_is_found_compressed_or_not(tmp_path):
    write(tmp_path, "a/one.csv.gz", "a/two.csv")
    source = SourceFolder(tmp_path, ORIGIN)
    assert source.file("one.csv").name == source.file("one.csv.gz").name == "one.csv.gz"
    assert source.file("two.csv").name == source.file("two.csv.gz").name == "two.csv"
    with pytest.raises(BuildError, match=r"three\.csv\.gz is not in"):
        source.file("three.csv.gz")
