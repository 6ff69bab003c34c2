"""A limit on evaluated examples keeps whole training splits and the same examples in every run."""

import numpy as np
import pytest

from f3ocus_jax.data import evaluated
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from tests.helpers.tables import data_config, dummy, table


def clients(count=50):
    def split(first):
        pixels = np.arange(first, first + count)
        return table(pixels, [f"answer {n}" for n in pixels], "a")

    return {"eye": {"train": split(0), "validation": split(100), "test": split(200)}}


def kept(most, seed=0, split="test"):
    return evaluated.limit(clients(), most, seed)["eye"][split].pixel_hash_N.tolist()


def test_training_is_whole_and_the_evaluated_splits_are_limited():
    limited = evaluated.limit(clients(), 7, 0)["eye"]
    assert {split: len(found) for split, found in limited.items()} == {
        "train": 50,
        "validation": 7,
        "test": 7,
    }
    assert limited["test"].texts("answer") == [f"answer {n}" for n in limited["test"].pixel_hash_N]


@pytest.mark.parametrize("most", [0, 50, 1000])
def test_no_limit_and_a_large_one_keep_all(most):
    assert kept(most) == list(range(200, 250))


def test_the_same_examples_stay_and_a_smaller_limit_keeps_some_of_them():
    assert kept(20) == kept(20)
    assert kept(20) != kept(20, seed=1)
    assert set(kept(5)) < set(kept(20))
    assert kept(20) == sorted(kept(20))


def test_a_federation_is_read_with_the_limit(tmp_path):
    def read(most):
        manual, name = dummy("modality_images"), "modality_images/brain_mri"
        config = data_config(
            *(tmp_path, name),
            **{"manual_dir": manual, "validation_share": 0.1, "evaluated_examples": most},
        )
        clients, summary = read_tables(config, Canvas(8))
        return [len(splits) for splits in clients["modality_images/brain_mri"].values()], summary

    (whole, all_hash), (few, few_hash) = read(0), read(1)
    assert sorted(whole) == [2, 2, 4]
    assert sorted(few) == [1, 1, 4]
    assert all_hash.partition_hash != few_hash.partition_hash
