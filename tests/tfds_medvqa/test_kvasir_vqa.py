"""Kvasir-VQA from Parquet files, or from a table beside images."""

import shutil

import pytest
from pyarrow import parquet

from tests.tfds_medvqa.dummy_builds import build_dummy, dummy_folder, texts
from tests.tfds_medvqa.dummy_files import kvasir_ids, kvasir_rows, write_csv
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.rows import Reason


@pytest.fixture
def manual(tmp_path):
    return shutil.copytree(dummy_folder("kvasir_vqa"), tmp_path / "manual")


@pytest.fixture
def table(tmp_path):
    """The same questions as a table, with the images beside it."""
    folder = tmp_path / "table" / "Kvasir"
    (folder / "images").mkdir(parents=True)
    rows = kvasir_rows()
    for row in rows:
        (folder / "images" / f"{row['img_id']}.jpg").write_bytes(row.pop("image")["bytes"])
    write_csv(folder / "metadata.csv", rows)
    return folder.parent


def column(examples, name):
    return [each[name].decode() for each in examples]


def test_a_fifth_of_the_images_are_for_testing_and_copies_stay_together(tmp_path):
    built = build_dummy("kvasir_vqa/all", tmp_path)
    splits, names = texts(built), kvasir_ids()
    assert set(column(splits["train"], "image_id")) == set(names[:2])
    assert set(column(splits["test"], "image_id")) == set(names[2:])
    assert column(splits["train"], "image_id").count(names[0]) == 4
    assert built.info.metadata["split"] == {"by": "image", "shares": {"test": 0.2}}


def test_a_copy_of_a_test_image_is_a_test_image_whatever_its_name(manual, tmp_path):
    path = manual / "data" / "00001.parquet"
    rows = parquet.read_table(path).to_pylist()
    copy, test = f"copy_of_{kvasir_ids()[0]}", kvasir_ids()[2]
    content = next(row["image"] for row in rows if row["img_id"] == test)
    rows = [row | {"image": content} if row["img_id"] == copy else row for row in rows]
    parquet.write_table(parquet.read_table(path).from_pylist(rows), path)
    splits = texts(build_dummy("kvasir_vqa/all", tmp_path, manual))
    assert column(splits["test"], "image_id").count(test) == 4


def test_a_table_beside_images_gives_the_same_examples(table, tmp_path):
    expected = texts(build_dummy("kvasir_vqa/all", tmp_path / "a"))
    for split, examples in texts(build_dummy("kvasir_vqa/all", tmp_path / "b", table)).items():
        assert examples == expected[split]


def test_several_answers_are_sorted_and_left_out_of_single(tmp_path):
    splits = {
        name: texts(build_dummy(f"kvasir_vqa/{name}", tmp_path)) for name in ("all", "single")
    }
    assert set(column(splits["all"]["train"], "answer")) == {"yes", "pink; red"}
    assert set(column(splits["single"]["train"], "answer")) == {"yes"}
    assert set(column(splits["all"]["test"], "client")) == {"ulcerative colitis", "polyps"}


def test_a_missing_part_is_named(manual, tmp_path):
    (manual / "data" / "00000.parquet").unlink()
    with pytest.raises(BuildError, match=r"data/00000\.parquet is not in"):
        build_dummy("kvasir_vqa/all", tmp_path, manual)


def test_an_image_of_the_table_that_lies_elsewhere_is_refused(table, tmp_path):
    path = table / "Kvasir" / "metadata.csv"
    path.write_text(path.read_text().replace(kvasir_ids()[0], "../../outside", 1))
    (table / "outside.jpg").write_bytes(b"")
    with pytest.raises(BuildError, match=r"metadata\.csv, line 2 names .*outside of") as error:
        build_dummy("kvasir_vqa/all", tmp_path, table)
    assert error.value.reason == Reason.OUTSIDE_FILE
