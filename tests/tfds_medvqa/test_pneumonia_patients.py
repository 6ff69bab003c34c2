"""X-rays of one source are found in another that cut and stretched them."""

import importlib.util

import numpy as np
import pytest
from PIL import Image

from tests.helpers.paths import REPOSITORY


@pytest.fixture(scope="module")
def script():
    path = REPOSITORY / "scripts" / "pneumonia_patients.py"
    spec = importlib.util.spec_from_file_location("pneumonia_patients", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def picture(seed):
    """A smooth picture, 128 pixels wide and high."""
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8)).astype(np.uint8)
    return Image.fromarray(noise).resize((128, 128), Image.Resampling.BICUBIC)


def test_cut_and_darker_images_are_found_and_others_are_not(script):
    pictures = [picture(seed) for seed in range(6)]
    images = [script.cut_out(pictures[index], 0.74) * 0.7 for index in (4, 1)]
    images.append(script.cut_out(picture(77), 1.0) * 1.0)
    assert script.match(np.stack(images), pictures) == {0: 4, 1: 1}


def test_a_picture_belongs_to_the_image_that_resembles_it_most(script):
    pictures = [picture(0)]
    exact = script.cut_out(pictures[0], 1.0).astype(float)
    worse = exact + np.random.default_rng(1).normal(0, 5, exact.shape)
    assert script.match(np.stack([worse, exact]), pictures) == {1: 0}


def test_patients_are_counted_by_split_and_by_pair(script):
    found = script.describe({"test": {"p2", "p3"}, "train": {"p1", "p2"}})
    assert found == "2 patients in train, 2 patients in test, 1 in train and test"
