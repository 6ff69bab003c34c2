import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import QUESTION_TYPES, answer_type, encode_png, example_features


def decoded(file: io.BytesIO) -> np.ndarray:
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_there_are_the_paper_s_six_question_types():
    assert len(set(QUESTION_TYPES)) == 6


def test_every_builder_s_examples_have_the_same_features():
    features = example_features()
    assert set(features) == {
        *("image", "image_id", "question", "answer", "question_type", "answer_type"),
        *("client", "modality", "anatomy", "source", "label"),
    }
    assert isinstance(features["image"], tfds.features.Image)
    assert features["image"].shape == (None, None, 3)


@pytest.mark.parametrize("shape", [(5, 7, 3), (1, 1, 3)])
def test_png_keeps_every_pixel_of_a_colour_image(shape):
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(decoded(encode_png(image)), image)


def test_png_repeats_a_grey_image_in_three_channels():
    image = np.random.default_rng(0).integers(0, 256, (5, 7)).astype(np.uint8)
    pixels = decoded(encode_png(image))
    assert pixels.shape == (5, 7, 3)
    for channel in range(3):
        np.testing.assert_array_equal(pixels[..., channel], image)


def test_png_of_the_same_pixels_has_the_same_bytes():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    strided = np.arange(96, dtype=np.uint8).reshape(4, 4, 6)[..., ::2]
    assert encode_png(image).getvalue() == encode_png(image.copy()).getvalue()
    np.testing.assert_array_equal(decoded(encode_png(strided)), strided)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [("yes", "closed"), ("no", "closed"), ("no finding", "open"), ("grade 0", "open")],
)
def test_only_yes_and_no_are_closed(answer, expected):
    assert answer_type(answer) == expected


def test_a_build_error_is_a_value_error():
    assert issubclass(BuildError, ValueError)
