"""Images that two datasets share are found, whatever their file format and size."""

import json

import numpy as np
import pytest

from f3ocus_jax.data import cache, overlap, reading, summary as summary_lib
from f3ocus_jax.data.images import Canvas
from tests.helpers.tables import data_config, table
from tfds_medvqa.build import build
from tfds_medvqa.common.rows import UNKNOWN


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


def test_an_example_repeats_another_if_image_question_and_answer_are_the_same():
    same = table([1, 1, 1, 2, 1], ["a", "a", "b", "a", "a"], question=["q", "q", "q", "q", "r"])
    assert overlap.count_repeats(same) == 1
    assert overlap.count_repeats(same.take(np.array([0, 0, 0, 3]))) == 2
    assert overlap.count_repeats(same.take(np.array([], int))) == 0


def test_patients_are_counted_where_they_are_known_and_by_dataset():
    def patients(names, dataset="a"):
        return table(range(len(names)), ["x"] * len(names), dataset, patient=names)

    splits = {
        "train": patients(["1", "1", "2", UNKNOWN]),
        "validation": patients(["3"]),
        "test": patients(["2", "3", "4", UNKNOWN]),
    }
    assert overlap.count_patients(splits) == ({"train": 2, "validation": 1, "test": 3}, 2)
    others = splits | {"test": patients(["2", "3"], "b")}
    assert overlap.count_patients(others)[1] == 0
    elsewhere = table([7, 8], "xx", patient=["2", "3"], client=["y", "x"])
    assert overlap.count_patients(splits | {"test": elsewhere})[1] == 1


def test_repeats_are_those_that_brute_force_finds():
    draw = np.random.default_rng(0)
    hashes, questions, answers = draw.integers(0, 4, (3, 200)).tolist()
    many = table(hashes, list(map(str, answers)), question=list(map(str, questions)))
    seen = set(zip(hashes, questions, answers, strict=True))
    assert overlap.count_repeats(many) == 200 - len(seen)


def test_what_is_doubtful_is_said_of_its_client():
    splits = {
        "train": table([1, 1], ["yes", "yes"], question=["q", "q"], patient=["p", "p"]),
        "test": table([2, 3], ["yes", "no"], patient=["p", "r"]),
    }
    lines = summary_lib.summarise({"Oslo": splits}, {}).lines()
    assert [line.strip() for line in lines[2:]] == [
        "Oslo: 50 % of the test answers are no training answer of any client, and count as "
        "answered wrongly",
        "Oslo: 1 of 2 train examples repeat the image, question and answer of another",
        "Oslo: 1 of 2 test patients are also in another split",
    ]


@pytest.mark.parametrize(("duplicates", "left"), [("exact", [5]), ("keep", [2, 5])])
def test_a_federation_is_read_without_the_images_of_an_earlier_dataset(
    duplicates, left, tmp_path, monkeypatch
):
    datasets = {
        "a": {"train": table([1, 2], "xy"), "test": table([3], "x")},
        "b": {"train": table([2, 5], "xy"), "test": table([6], "y")},
    }
    monkeypatch.setattr(reading, "_read_datasets", lambda *_: datasets)
    config = data_config(tmp_path, "a", "b", duplicates=duplicates)
    clients, summary = reading.read_tables(config, Canvas(2))
    assert clients["b"]["train"].pixel_hash_N.tolist() == left
    assert clients["a"]["train"].pixel_hash_N.tolist() == [1, 2]
    assert summary.dropped == ({"b": (1, 1)} if duplicates == "exact" else {})
