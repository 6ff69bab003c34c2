"""Patients and images that cross the splits of a federation, counted in tables of known content."""

import numpy as np

from f3ocus_jax.data import crossings
from tests.helpers.tables import table
from tfds_medvqa.common.rows import UNKNOWN


def clients():
    """Two hospitals, each of which calls a patient "1"."""
    return {
        "a": {
            "train": table([1, 2, 2], "abc", patient=["1", "2", "2"], client=["a"] * 3),
            "test": table([2, 2, 5], "abc", patient=["3", "3", "1"], client=["a"] * 3),
        },
        "b": {
            "train": table([7], "d", patient=[UNKNOWN], client=["b"]),
            "validation": table([1, 9], "ef", patient=["1", "4"], client=["b"] * 2),
            "test": table([7, 8], "gh", patient=["4", UNKNOWN], client=["b"] * 2),
        },
    }


def test_images_are_counted_by_pixels_and_patients_by_hospital():
    found = crossings.count_splits(clients())
    assert {split: (each.images, each.patients) for split, each in found.items()} == {
        "train": (3, 2),
        "validation": (2, 2),
        "test": (4, 3),
    }


def test_every_two_splits_are_compared():
    found = crossings.find_crossings(clients(), near=0.0)
    assert [(e.first, e.second, e.patients, e.equal, e.near) for e in found] == [
        ("train", "validation", 0, 1, 1),
        ("train", "test", 1, 2, 2),
        ("validation", "test", 1, 0, 0),
    ]


def test_images_that_resemble_each_other_are_counted_apart_from_equal_ones():
    base = np.random.default_rng(0).integers(10, 240, (4, 256)).astype(np.uint8)
    splits = {
        "train": table([1, 2], "ab", thumbnail_ND=base[:2]),
        "test": table([1, 12, 13], "cde", thumbnail_ND=base[[0, 1, 2]] + np.uint8(1)),
    }
    (found,) = crossings.find_crossings({"a": splits}, near=1.5)
    assert (found.equal, found.near) == (1, 2)


def test_a_federation_without_validation_has_two_splits():
    both = {"a": {"train": table([1], "a"), "test": table([2], "b"), "validation": table([], "")}}
    (found,) = crossings.find_crossings(both)
    assert (found.first, found.second, found.equal) == ("train", "test", 0)
