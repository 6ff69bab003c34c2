"""PathVQA's Parquet files are read, and damaged or missing ones named."""

import shutil

import pyarrow
import pytest
from pyarrow import parquet

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tfds_medvqa.common.errors import BuildError

NAME = "path_vqa/released"


@pytest.fixture
def manual(tmp_path):
    return shutil.copytree(dummy_folder("path_vqa"), tmp_path / "manual")


def test_all_parts_of_a_split_are_read_and_equal_images_share_an_id(tmp_path):
    splits = texts(build_dummy(NAME, tmp_path))
    assert {split: len(examples) for split, examples in splits.items()} == {
        "train": 4,
        "validation": 2,
        "test": 2,
    }
    assert len({example["image_id"] for example in splits["train"]}) == 2
    assert {example["question_type"] for example in splits["train"]} == {b"what", b"is"}
    assert {example["answer_type"] for example in splits["train"]} == {b"open", b"closed"}


def test_a_missing_part_is_named(manual, tmp_path):
    next(manual.rglob("train-00001-of-00002-*")).unlink()
    with pytest.raises(BuildError, match=r"data/train-00001-of-00002-\*\.parquet is not in"):
        build_dummy(NAME, tmp_path, manual)


def test_a_file_that_is_no_table_or_lacks_a_column_or_an_image_is_named(manual, tmp_path):
    path = next(manual.rglob("test-*"))
    whole = parquet.read_table(path)
    for content, message in (
        (whole.drop_columns(["answer"]), "column 'answer' is missing"),
        (broken_image(whole), "row 0 of split test: cannot be read as an image"),
    ):
        parquet.write_table(content, path)
        with pytest.raises(BuildError, match=message):
            build_dummy(NAME, tmp_path, manual)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(BuildError, match="cannot be read as a Parquet file"):
        build_dummy(NAME, tmp_path, manual)


def broken_image(table):
    rows = table.to_pydict() | {"image": [{"bytes": b"no image", "path": None}] * 2}
    return pyarrow.table(rows)
