"""Pages are chosen and never silently the first, and what a build stores is decoded as it is."""

import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from f3ocus_jax.data.questions import read_picture
from f3ocus_jax.errors import DataError
from tests.helpers.image_modes import PAGE, make_modes, make_pages, saved, tiff
from tests.helpers.own_files import write_csv, write_folder
from tfds_medvqa.build import build
from tfds_medvqa.common import images, source_files, windows
from tfds_medvqa.common.errors import BuildError, ImageError, ImageSizeError
from tfds_medvqa.common.image_limits import DecodeOptions
from tfds_medvqa.common.rows import ReadOptions

PAGES = make_pages()


@pytest.fixture
def folder(tmp_path):
    """A folder of one image with three pages, in training and in test."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "scan.tif").write_bytes(PAGES["pages"].content)
    row = {"image": "scan.tif", "question": "is it?", "answer": "yes"}
    rows = [row | {"split": split} for split in ("train", "test")]
    write_csv(tmp_path / "own" / "table.csv", rows, ("image", "question", "answer", "split"))
    return tmp_path / "own"


@pytest.mark.parametrize("name", PAGES)
def test_of_several_pages_one_must_be_chosen(name):
    content = PAGES[name].content
    with pytest.raises(ImageError, match="has 3 pages or frames, and none is chosen; image_page"):
        images.decode_rgb(content)
    with pytest.raises(ImageError, match="3 pages or frames, and 4 is none of them"):
        images.encode_checked(content, 0, DecodeOptions(page=4))
    with Image.open(io.BytesIO(content)) as image, pytest.raises(DataError, match="has 3 pages"):
        read_picture(image)
    shown = images.decode_rgb(content, DecodeOptions(page=PAGE))
    with Image.open(io.BytesIO(content)) as image:
        image.seek(PAGE - 1)
        assert read_picture(image).tobytes() == shown.tobytes()


def test_the_frames_before_a_chosen_one_count_as_pixels_of_an_animation():
    content, options = PAGES["animated GIF"].content, DecodeOptions(max_pixels=127, page=2)
    with pytest.raises(ImageSizeError, match=r"has 8 x 8 x 2 pixels, more than .* = 127"):
        images.decode_rgb(content, options)
    assert images.decode_rgb(PAGES["pages"].content, options).size == (8, 8)


def test_a_chosen_page_is_held_to_the_limit_too():
    large = Image.fromarray(np.zeros((90, 90), np.uint8))
    content = saved(Image.new("L", (8, 8)), "TIFF", save_all=True, append_images=[large])
    with pytest.raises(ImageSizeError, match="has 90 x 90 pixels"):
        images.decode_rgb(content, DecodeOptions(100, page=2))


def test_a_file_with_pages_is_refused_by_name_where_it_is_built_and_asked_about(folder, tmp_path):
    with pytest.raises(BuildError, match=r"line 2 names .*scan\.tif: has 3 pages") as error:
        build(f"files:{folder}", tmp_path / "data")
    assert "\n" not in str(error.value)
    with pytest.raises(DataError, match=r"scan\.tif has 3 pages"):
        read_picture(folder / "scan.tif")


def first_image(builder):
    example = builder.as_data_source("train")[0]
    return np.asarray(example["image"])


def test_another_page_is_another_build(folder, tmp_path, capsys):
    def built(page):
        options = ReadOptions(image_page=page)
        return first_image(build(f"files:{folder}", tmp_path / "data", None, options))

    np.testing.assert_array_equal(built(PAGE), PAGES["pages"].expected_HWC)
    capsys.readouterr()
    first = built(1)
    assert "was built with image_page = 2, not 1; the dataset is built" in capsys.readouterr().out
    assert (first != PAGES["pages"].expected_HWC).any()
    np.testing.assert_array_equal(built(1), first)
    assert "built" not in capsys.readouterr().out


def test_a_build_of_an_earlier_decoder_is_made_again_while_its_files_are_there(tmp_path):
    folder = write_folder(tmp_path / "own")
    built = pathlib.Path(build(f"files:{folder}", tmp_path / "data").data_dir)
    record = json.loads((built / source_files.FILE).read_text())
    assert source_files.change_of(built, folder) is None
    for old in (record["files"], record | {"decoder": source_files.DECODER - 1}):
        (built / source_files.FILE).write_text(json.dumps(old))
        assert "built with an earlier decoder" in source_files.change_of(built, folder)
        assert source_files.change_of(built, tmp_path / "away") is None
        assert "image_page = 0, not 3" in source_files.change_of(built, None, 3)


def test_the_page_must_be_possible():
    with pytest.raises(BuildError, match="image_page is -1, must be 0 or more"):
        ReadOptions(image_page=-1)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_rotation_of_exif_is_carried_out_once(orientation):
    colour = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    upright = colour if orientation < 5 else colour.swapaxes(0, 1)
    flips = {2: (1,), 3: (0, 1), 4: (0,), 6: (1,), 7: (0, 1), 8: (0,)}.get(orientation, ())
    expected = np.flip(upright, flips)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for content in (
        saved(colour, "PNG", exif=exif),
        saved(colour, "TIFF", tiffinfo={274: orientation}),
    ):
        stored = images.encode_checked(content).getvalue()
        for shown in (images.decode_rgb(content), images.decode_rgb(stored)):
            np.testing.assert_array_equal(np.asarray(shown), expected)
    small = images.encode_checked(saved(colour, "JPEG", exif=exif), shorter_side=2)
    with Image.open(small) as image:
        assert image.size == ((3, 2) if orientation < 5 else (2, 3))


def test_only_a_file_that_shows_plainly_what_is_decoded_is_stored_as_it_is():
    kept = {
        name
        for name, mode in make_modes().items()
        if images.encode_checked(mode.content).getvalue() == mode.content
    }
    assert kept == {"colour", "colour JPEG"}
    animated = PAGES["animated PNG"].content
    assert images.encode_checked(animated, 0, DecodeOptions(page=1)).getvalue() != animated


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_no_numbers_are_refused(value):
    content = tiff(np.array([[0, value], [1, 2]], np.float32))
    with pytest.raises(ImageError, match="has values that are no finite numbers"):
        images.decode_rgb(content)


@pytest.mark.parametrize(
    ("values", "stated", "window"),
    [
        (np.uint16([0, 255]), 0, (0, 255)),
        (np.uint16([3, 256]), 0, (0, 1023)),
        (np.uint16([9, 4095]), 0, (0, 4095)),
        (np.uint16([9, 4096]), 0, (0, 16383)),
        (np.uint16([9, 20000]), 0, (0, 65535)),
        (np.uint16([9, 20]), 1000, (0, 1023)),
        (np.uint16([9, 2000]), 1000, (0, 4095)),
        (np.int32([5, 65536]), 0, (5, 65536)),
        (np.int16([-1024, 3071]), 0, windows.HOUNSFIELD_WINDOW),
        (np.int16([-3072, -3000]), 0, windows.HOUNSFIELD_WINDOW),
        (np.int16([-199, 3071]), 0, (-199, 3071)),
        (np.int16([-4096, 4094]), 0, (-4096, 4094)),
        (np.float32([-1.5, 3.5]), 0, (-1.5, 3.5)),
        (np.float32([0.25, 0.75]), 0, (0.25, 0.75)),
    ],
)
def test_windows(values, stated, window):
    assert windows.window_of(values[None], stated) == window


@pytest.mark.parametrize("value", [-1500, 0, 7])
def test_a_window_without_width_is_black(value):
    constant = np.full((2, 2), value, np.float32)
    assert not windows.to_eight_bits(constant).any()
