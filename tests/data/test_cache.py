"""A dataset is decoded once, and the cache equals what was built."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from f3ocus_jax.data import cache, images
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.table import DATASET_COLUMNS, TEXT_COLUMNS, Column, join_tables
from f3ocus_jax.errors import DataError
from tests.helpers.tables import dummy, table
from tfds_medvqa.build import build
from tfds_medvqa.common import owner_lock
from tfds_medvqa.common.image_limits import DecodeOptions

NAME, SIZE = "vqa_rad/released", 6


@pytest.fixture
def builder(tmp_path):
    return build(NAME, tmp_path, dummy("vqa_rad"))


def load(builder, split="train", size=SIZE):
    return cache.load(builder, NAME, split, Canvas(size))


def test_a_cache_holds_what_decoding_every_example_by_hand_gives(builder):
    skip = {"image": tfds.decode.SkipDecoding()}
    records = list(builder.as_data_source("train", decoders=skip))
    found = load(builder)
    expected = np.stack(
        [images.decode_image(record["image"], Canvas(SIZE))[0] for record in records]
    )
    np.testing.assert_array_equal(found.images[np.arange(len(records))], expected)
    for name in TEXT_COLUMNS:
        if name not in ("label", *DATASET_COLUMNS):
            assert found.texts(name) == [record[name].decode() for record in records]
    assert found.texts("dataset") == [NAME] * len(records)


def test_an_image_that_examples_share_is_kept_once(builder):
    found = load(builder)
    assert len(found) == 4
    assert len(found.images.stores[0]) == 3
    assert len(set(found.pixel_hash_N.tolist())) == 3


def test_a_second_load_decodes_nothing(builder, monkeypatch):
    first = load(builder)
    monkeypatch.setattr(cache, "_write", None)
    again = load(builder)
    np.testing.assert_array_equal(again.images[np.arange(4)], first.images[np.arange(4)])
    assert again.texts("answer") == first.texts("answer")


def test_every_size_has_a_cache_of_its_own(builder):
    assert load(builder, size=6).images[np.array([0])].shape == (1, 6, 6, 3)
    assert load(builder, size=9).images[np.array([0])].shape == (1, 9, 9, 3)


def test_another_page_of_images_is_another_cache(builder):
    load(builder)
    for page in (0, 2):
        cache.load(builder, NAME, "train", Canvas(SIZE), DecodeOptions(page=page))
        (identity,) = builder.data_path.glob("arrays_6px/train/identity.json")
        assert json.loads(identity.read_text())["image_page"] == page


def test_an_unfinished_or_outdated_cache_is_made_anew(builder):
    load(builder)
    (identity,) = builder.data_path.glob("arrays_6px/train/identity.json")
    for broken in ({}, json.loads(identity.read_text()) | {"format": 0}):
        identity.write_text(json.dumps(broken))
        (identity.parent / "answer.json").write_text("[]")
        assert len(load(builder).texts("answer")) == 4
    identity.unlink()
    (identity.parent / "pixels.bin").write_bytes(b"")
    assert load(builder).images[np.array([0])].shape == (1, 6, 6, 3)


def test_an_example_that_cannot_be_read_is_named_and_leaves_no_cache(builder, monkeypatch):
    def broken(encoded, options):
        raise OSError("not an image")

    monkeypatch.setattr(images, "decode_rgb", broken)
    with pytest.raises(
        DataError,
        match=r"released, split train, example \d: cannot be read \(not an image\); .* again$",
    ):
        load(builder)
    assert not (builder.data_path / "arrays_6px" / "train").exists()


def test_indices_of_any_shape_read_images_from_several_stores():
    first, second = table([1, 2, 3], "abc"), table([11, 12], "de")
    both = join_tables([first, second])
    indices = np.array([[4, 0], [2, 3]])
    expected = np.array([[12, 1], [3, 11]], np.uint8)[..., None, None, None]
    np.testing.assert_array_equal(both.images[indices], expected * np.ones((2, 2, 3), np.uint8))
    assert both.texts("answer") == list("abcde")


def test_taking_keeps_only_the_texts_in_use():
    taken = Column.from_texts(["b", "a", "b", "c"]).take(np.array([3, 0]))
    assert taken.texts() == ["c", "b"]
    assert sorted(taken.values) == ["b", "c"]


def test_a_mask_takes_the_same_as_its_indices():
    whole = table([1, 2, 3], "abc")
    by_mask, by_index = whole.take(np.array([True, False, True])), whole.take(np.array([0, 2]))
    assert by_mask.texts("answer") == by_index.texts("answer") == ["a", "c"]
    np.testing.assert_array_equal(by_mask.pixel_hash_N, [1, 3])


def test_what_killed_processes_left_of_a_cache_is_removed(builder):
    load(builder)
    root = pathlib.Path(builder.data_dir) / f"arrays_{SIZE}px"
    (root / "train" / "identity.json").unlink()
    for name in ("incomplete.train.1", "incomplete.train.22", "incomplete.validation.1"):
        (root / name).mkdir()
        (root / name / "pixels.bin").touch()
    load(builder)
    assert {path.name for path in root.iterdir()} == {"train", "incomplete.validation.1"}


def test_a_cache_that_another_process_writes_is_waited_for_and_then_read(
    builder, monkeypatch, capsys
):
    expected = load(builder)
    root = pathlib.Path(builder.data_dir) / f"arrays_{SIZE}px"
    (root / "train").rename(root / "finished")
    owner = dataclasses.replace(owner_lock.this_process(), machine="another", host="far", pid=7)
    (root / "train.lock").write_text(json.dumps(dataclasses.asdict(owner)))

    def finish(seconds):
        (root / "finished").rename(root / "train")
        (root / "train.lock").unlink()

    monkeypatch.setattr(owner_lock.time, "sleep", finish)
    monkeypatch.setattr(cache, "_write", pytest.fail)
    found = load(builder)
    np.testing.assert_array_equal(found.pixel_hash_N, expected.pixel_hash_N)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("waiting for process 7 on far")
    assert "vqa_rad/released, split train" in line


def test_an_image_beyond_the_limit_is_named_with_the_limit_and_leaves_no_cache(builder):
    with pytest.raises(DataError, match=r"split train, example \d: has 12 x 9 .*pixels = 107"):
        cache.load(builder, NAME, "train", Canvas(SIZE), DecodeOptions(107))
    assert not (builder.data_path / f"arrays_{SIZE}px" / "train").exists()
