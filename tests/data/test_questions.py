"""Pictures that are asked about: limits, damage, and the same pixels as in training."""

import io

import numpy as np
import pytest
from PIL import Image

from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.questions import make_batch, pair, read_picture
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import DataError
from tests.tfds_medvqa import attacks
from tfds_medvqa.common.image_limits import DEFAULT_DECODING, DecodeOptions
from tfds_medvqa.common.source_images import SourceImage


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (attacks.png(300, 300), "has 300 x 300 pixels, more than max_image_pixels = 89999"),
        (attacks.truncated(), "truncated"),
        (b"", "the file is empty"),
        (attacks.LFS, "Git LFS pointer"),
        (attacks.HTML, "web page"),
    ],
    ids=["large", "truncated", "empty", "pointer", "page"],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(content, message, tmp_path):
    path = tmp_path / "scan.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"scan\.png .*{message}") as error:
        read_picture(path, DecodeOptions(89_999))
    assert "\n" not in str(error.value)


def test_a_pil_image_is_checked_before_it_is_decoded():
    with Image.open(io.BytesIO(attacks.png(300, 300))) as image:
        with pytest.raises(DataError, match="PIL image has 300 x 300 pixels"):
            read_picture(image, DecodeOptions(89_999))
        assert read_picture(image, DecodeOptions(90_000)).mode == "RGB"
    with (
        Image.open(io.BytesIO(attacks.truncated())) as image,
        pytest.raises(DataError, match="PIL image cannot be read as an image"),
    ):
        read_picture(image)


def test_sixteen_bit_grey_is_asked_about_as_it_is_trained_on(tmp_path):
    path = tmp_path / "deep.png"
    deep_HW = np.arange(48, dtype=np.uint16).reshape(8, 6) * 1000
    Image.fromarray(deep_HW).save(path)
    with Image.open(SourceImage(path, "row 0").read(DEFAULT_DECODING)) as built:
        np.testing.assert_array_equal(np.asarray(read_picture(path)), np.asarray(built))


@pytest.mark.parametrize("question", ["half a pair: \ud83d", 5, None, ["a", ["b"]]])
def test_a_question_that_is_no_text_is_refused_in_one_line(question):
    with pytest.raises(DataError, match="question: has 'text'") as error:
        pair("scan.png", question if isinstance(question, list) else [question])
    assert "\n" not in str(error.value)


def test_an_array_is_grey_or_colour_of_eight_bits():
    for shape in ((4, 5), (4, 5, 3)):
        pixels = np.full(shape, 7, np.uint8)
        np.testing.assert_array_equal(np.asarray(read_picture(pixels)), np.full((4, 5, 3), 7))
    for wrong in (np.zeros((4, 5)), *(np.zeros(s, np.uint8) for s in ((5,), (4, 5, 4), (0, 5)))):
        with pytest.raises(DataError, match=r"must be uint8 \[height, width\]"):
            read_picture(wrong)


@pytest.mark.parametrize("findings", [0, 2])
def test_a_batch_of_questions_asks_for_findings_where_there_are_some(findings):
    pairs = [(np.full((6, 4), n, np.uint8), "is it?") for n in (3, 9)]
    settings = {"tokenizer": load_tokenizer(), "question_length": 8, "findings": findings}
    batch = make_batch(pairs, canvas=Canvas(8), **settings)
    assert batch.images_BHWC[:, 0, 0, 0].tolist() == [3, 9]
    assert batch.image_size_B2 is None
    if findings:
        np.testing.assert_array_equal(batch.targets_BF, np.zeros((2, findings)))
    else:
        assert batch.targets_BF is None
    padded = make_batch(pairs, canvas=Canvas(8, shortest_edge=4, multiple=2), **settings)
    np.testing.assert_array_equal(padded.image_size_B2, [[6, 4], [6, 4]])
