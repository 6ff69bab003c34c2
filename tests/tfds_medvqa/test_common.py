import gzip
import io

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tfds_medvqa.common.answers import CLOSED_ANSWERS, NUMBER_WORDS, answer_type, normalise
from tfds_medvqa.common.errors import BuildError
from tfds_medvqa.common.features import QUESTION_TYPES, example_features, question_example
from tfds_medvqa.common.image_limits import DEFAULT_DECODING
from tfds_medvqa.common.images import encode_png
from tfds_medvqa.common.source_folder import Origin, SourceFolder
from tfds_medvqa.common.source_images import SourceImage
from tfds_medvqa.common.tables import piped_rows, read_json, read_text, table_rows


def decoded(file):
    with Image.open(file) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def test_there_are_the_paper_s_six_question_types():
    assert len(set(QUESTION_TYPES)) == 6


def test_every_builder_s_examples_have_the_same_features():
    features = example_features()
    assert set(features) == {
        *("image", "image_id", "question", "answer", "question_type", "answer_type"),
        *("client", "patient", "language", "modality", "anatomy", "source", "label"),
        *("example_id", "task"),
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


@pytest.mark.parametrize("language", CLOSED_ANSWERS)
def test_yes_and_no_are_closed_in_their_language_however_it_is_named(language):
    for answer in CLOSED_ANSWERS[language]:
        assert normalise(answer) == answer
        assert normalise(f"{answer.upper()}.") in CLOSED_ANSWERS[language]
        for name in (language, f"{language}-XX", f"{language.upper()}_xx", "unknown", "tlh"):
            assert answer_type(answer, name) == "closed"


def test_words_of_another_language_are_open_but_for_further_ones():
    assert answer_type("nein", "en") == "open"
    assert answer_type("absent", "unknown") == "open"
    assert answer_type("absent", "en", further=("absent",)) == "closed"


def test_a_build_error_is_a_value_error():
    assert issubclass(BuildError, ValueError)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("  Grade 0 ", "grade 0"),
        ("US - Ultrasound", "us - ultrasound"),
        ("left\tlung\n", "left lung"),
        ("3.5 cm.", "3.5 cm"),
        ("yes!?", "yes"),
        ("T2-weighted", "t2-weighted"),
        ("Two", "2"),
        ("one-sided, twenty one", "one-sided, 20 1"),
        ("phone", "phone"),
        (2, "2"),
        ("lung , mediastinum ;pleura", "lung, mediastinum;pleura"),
        ("( a mass )", "(a mass)"),
        ("\u201cCrohn\u2019s disease\u201d", "crohn's disease"),
        ('"yes."', "yes"),
        ("4\u20135 cm²", "4-5 cm2"),
        ("'", "'"),
        ("", ""),
        ("?!", ""),
    ],
)
def test_normalising_takes_away_what_makes_no_difference(written, expected):
    assert normalise(written) == expected


def test_normalising_twice_is_normalising_once():
    draw = np.random.default_rng(0)
    pieces = ["a", "B", " ", ",", ".", "'", '"', "(", ")", "two", "-", "\t", "Ⅳ", "½", "—", "!"]
    for _ in range(2000):
        text = "".join(draw.choice(pieces, size=draw.integers(1, 9)))
        assert normalise(normalise(text)) == normalise(text), repr(text)


def test_number_words_reach_from_zero_to_twenty():
    assert list(NUMBER_WORDS.values()) == [str(number) for number in range(21)]


def test_an_example_is_normalised_and_unknown_facts_are_said_to_be_unknown():
    example = question_example(
        image=io.BytesIO(),
        image_id="a",
        example_id="a/1",
        question=" Is  this\nnormal? ",
        answer=" YES.",
        question_type="abnormality",
        source="somewhere",
    )
    assert (example["question"], example["answer"]) == ("Is this normal?", "yes")
    assert (example["answer_type"], example["client"]) == ("closed", "somewhere")
    assert (example["modality"], example["anatomy"], example["label"]) == ("unknown", "unknown", [])


ORIGIN = Origin("A set", "https://example.org", "CC0")


def test_a_file_is_found_in_sub_folders_in_any_case_and_the_exact_name_comes_first(tmp_path):
    deep = tmp_path / "Release" / "Part" / "Images"
    deep.mkdir(parents=True)
    (deep / "One.TXT").touch()
    (tmp_path / "one.txt").mkdir()
    files = SourceFolder(tmp_path, ORIGIN)
    assert files.file("images/one.txt") == deep / "One.TXT"
    assert files.folder("one.txt") == tmp_path / "one.txt"
    with pytest.raises(BuildError, match=r"A set: two.txt is not in .*example.org .*CC0"):
        files.file("two.txt")
    with pytest.raises(BuildError, match="no manual_dir was given"):
        SourceFolder(None, ORIGIN).file("two.txt")


COLUMNS = ("image", "question", "answer")


def test_lines_with_too_few_fields_are_named(tmp_path):
    path = tmp_path / "pairs.txt"
    path.write_text("a|b|c|d\n\nx| y\n")
    with pytest.raises(
        BuildError, match=r"pairs\.txt, line 3 has 2 fields between bars, expected 3"
    ):
        [row.text("question") for row in piped_rows(path, COLUMNS)]
    path.write_text("a|b|c|d\n\n x | y|z\n")
    fields = [[row.text(name) for name in COLUMNS] for row in piped_rows(path, COLUMNS)]
    assert fields == [["a", "b", "c|d"], ["x", "y", "z"]]


def test_texts_are_read_as_utf8_or_as_windows_writes_them(tmp_path):
    path = tmp_path / "text"
    for encoding in ("utf-8", "utf-8-sig", "cp1252"):
        path.write_bytes("Müller\u2019s".encode(encoding))
        assert read_text(path) == "Müller\u2019s"


def test_a_broken_json_file_and_a_missing_column_are_named(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("[1,")
    with pytest.raises(BuildError, match=r"broken\.json: is not a JSON file"):
        read_json(path)
    table = tmp_path / "table.csv.gz"
    table.write_bytes(gzip.compress(b"a,b\n1,2\n"))
    assert [row.fields for row in table_rows(table, ["a"])] == [{"a": "1", "b": "2"}]
    with pytest.raises(BuildError, match="column 'c' is missing"):
        list(table_rows(table, ["a", "c"]))


def saved(path, array, mode=None):
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def read(path):
    return SourceImage(path, "row 0").read(DEFAULT_DECODING)


def test_a_colour_image_keeps_its_bytes_and_others_get_three_channels(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (8, 6, 3)).astype(np.uint8)
    for name in ("a.png", "a.jpg"):
        path = saved(tmp_path / name, colour)
        assert read(path).getvalue() == path.read_bytes()
    for mode in ("L", "P", "RGBA", "LA", "1"):
        path = saved(tmp_path / "b.png", colour, mode)
        assert decoded(read(path)).shape == (8, 6, 3)
    deep = (np.arange(48, dtype=np.uint16).reshape(8, 6)) * 257
    shown = decoded(read(saved(tmp_path / "c.png", deep)))
    np.testing.assert_array_equal(shown[..., 0], np.rint(deep / 16383 * 255))


def test_a_large_image_is_made_smaller_and_a_small_one_is_not(tmp_path):
    path = saved(tmp_path / "a.jpg", np.full((40, 60, 3), 128, np.uint8))
    with Image.open(SourceImage(path, "row 0", 20).read(DEFAULT_DECODING)) as image:
        assert (image.size, image.format) == ((30, 20), "JPEG")
    assert SourceImage(path, "row 0", 40).read(DEFAULT_DECODING).getvalue() == path.read_bytes()
