"""Images that two datasets share are found, whatever their file format and size."""

import json

import numpy as np
import pytest

from f3ocus_jax.data import cache, overlap
from f3ocus_jax.data.images import Canvas
from tests.helpers.tables import table
from tfds_medvqa.build import build


def test_the_same_pixels_are_shared_and_others_are_not():
    shared = overlap.shared_images(table([1, 2], "ab"), table([2, 3, 2], "xyz"))
    assert shared.tolist() == [True, False, True]


@pytest.mark.parametrize("seed", range(5))
def test_near_images_are_those_that_brute_force_finds(seed):
    draw = np.random.default_rng(seed)
    base = draw.integers(0, 256, (40, 256))
    noisy = base[draw.integers(0, 40, 60)] + draw.integers(-4, 5, (60, 256))
    first = table(range(40), "a" * 40, thumbnail_ND=base.astype(np.uint8))
    thumbnails = np.clip(noisy, 0, 255).astype(np.uint8)
    second = table(range(100, 160), "b" * 60, thumbnail_ND=thumbnails)
    expected = [np.abs(base - asked).mean(1).min() < 2.2 for asked in thumbnails.astype(int)]
    assert overlap.shared_images(first, second, 2.2).tolist() == expected
    assert 0 < sum(expected) < 60


@pytest.mark.parametrize("shift", [-3, -2, -1, 1, 2, 3])
def test_a_copy_that_is_darker_or_brighter_is_near_up_to_the_tolerance(shift):
    base = np.random.default_rng(0).integers(10, 240, (9, 256))
    first = table(range(9), "a" * 9, thumbnail_ND=base.astype(np.uint8))
    second = table(range(100, 109), "b" * 9, thumbnail_ND=(base + shift).astype(np.uint8))
    assert overlap.shared_images(first, second, 2.2).tolist() == [abs(shift) < 2.2] * 9


def test_what_an_earlier_dataset_has_is_dropped_from_both_splits_of_the_later():
    datasets = {
        "a": {"train": table([1, 2], "ab"), "test": table([3], "c")},
        "b": {"train": table([3, 4, 3], "xyz"), "test": table([1, 5], "uv")},
    }
    kept, dropped = overlap.drop_duplicates(datasets, 0.0)
    assert kept["a"]["train"].texts("answer") == ["a", "b"]
    assert kept["b"]["train"].texts("answer") == ["y"]
    assert kept["b"]["test"].texts("answer") == ["v"]
    assert dropped == {"b": (2, 3)}


def test_leaks_are_counted_by_image_and_say_where_it_is_trained_on():
    train = [table([1, 2, 2], "abc", "a"), table([9], "d", "b")]
    test = [table([2, 2, 9], "xyz", "a"), table([8], "w", "b")]
    assert overlap.count_leaks(train, test) == {("a", "a"): 1, ("a", "b"): 1}


@pytest.mark.slow
def test_the_38_real_images_of_vqa_rad_in_vqa_med_2019_are_found(real_data, real_builds):
    """42 are listed; the other four are in the test set of 2019, which is not there."""
    loaded = {}
    for name in ("vqa_rad/released", "vqa_med_2019/development"):
        builder = build(name, real_builds, real_data / name.split("/")[0])
        loaded[name] = {
            split: cache.load(builder, name, split, Canvas(28)) for split in ("train", "test")
        }
    _, dropped = overlap.drop_duplicates(loaded, overlap.NEAR)
    assert dropped == {"vqa_med_2019/development": (38, 152)}
    listed = set(json.loads((real_data / "overlap_vqa_rad_vqa_med_2019.json").read_text()))
    known = loaded["vqa_rad/released"]["train"]
    for split in loaded["vqa_med_2019/development"].values():
        near = overlap.shared_images(known, split, overlap.NEAR)
        names = {name for name, on in zip(split.texts("image_id"), near, strict=True) if on}
        assert names <= listed
