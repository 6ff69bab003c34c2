"""Images are decoded within a limit of pixels, and by the formats that are meant alone."""

import ast
import contextlib
import io
import os

import numpy as np
import pytest
from PIL import Image

from tests.helpers.paths import DATASETS, PACKAGE, REPOSITORY
from tests.tfds_medvqa import attacks
from tfds_medvqa.common import images
from tfds_medvqa.common.errors import BuildError, ImageError, ImageSizeError
from tfds_medvqa.common.image_limits import DEFAULT_DECODING, DecodeOptions
from tfds_medvqa.common.source_images import SourceImage

OPENING = {"Image.open", "PIL.Image.open", "plt.imread", "imread", "iio.imread"}


def encoded(side=8, form="PNG", mode="RGB"):
    file = io.BytesIO()
    Image.new(mode, (side, side)).save(file, form)
    return file.getvalue()


def test_the_limit_holds_from_one_pixel_more_on():
    assert images.decode_rgb(encoded(), DecodeOptions(64)).size == (8, 8)
    for read in (images.decode_rgb, lambda *given: images.encode_checked(given[0], 0, given[1])):
        with pytest.raises(
            ImageSizeError, match=r"has 8 x 8 pixels, more than max_image_pixels = 63"
        ):
            read(encoded(), DecodeOptions(63))


def test_a_bomb_is_refused_by_its_header():
    bomb = attacks.png(30_000, 30_000)
    assert len(bomb) < 1_000_000
    with pytest.raises(ImageSizeError, match=r"has 30000 x 30000 pixels, more than .* = 64000000"):
        images.decode_rgb(bomb)


def test_the_limit_is_not_pils_own_which_stays_as_it_was(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert images.decode_rgb(encoded()).size == (8, 8)
    with pytest.raises(ImageError):
        images.decode_rgb(attacks.LFS)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_a_file_beyond_the_limit_is_not_even_read(tmp_path):
    path = tmp_path / "sparse.png"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(BuildError, match=r"sparse\.png: has 1099511627776 bytes, more than"):
        SourceImage(path, "row 0").read(DEFAULT_DECODING)


@pytest.mark.parametrize("form", [form for form in images.FORMATS if form != "PPM"])
def test_every_listed_format_is_read(form):
    assert images.decode_rgb(encoded(form=form)).mode == "RGB"


@pytest.mark.parametrize("form", ["EPS", "TGA", "ICO"])
def test_other_formats_are_refused(form):
    with pytest.raises(ImageError, match="it is none of PNG, JPEG"):
        images.decode_rgb(encoded(form=form))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (attacks.LFS, "Git LFS pointer"),
        (attacks.HTML, "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (attacks.truncated(), "truncated"),
        (encoded()[:40], "cannot be read as an image"),
    ],
)
def test_what_is_no_image_is_told_by_what_it_is(content, message):
    with pytest.raises(ImageError, match=message) as error:
        images.decode_rgb(content)
    assert "\n" not in str(error.value)
    assert "0x" not in str(error.value)


def test_damaged_files_of_every_format_end_in_an_image_error():
    draw, tried = np.random.default_rng(0), 60
    for form in ("PNG", "JPEG", "TIFF", "BMP", "GIF", "PPM", "WEBP"):
        whole, read = encoded(form=form), 0
        for _ in range(tried):
            content = bytearray(whole)
            for place in draw.integers(0, len(content), 3):
                content[place] = draw.integers(256)
            cut = bytes(content[: draw.integers(1, len(content) + 1)])
            with contextlib.suppress(ImageError):
                images.decode_rgb(cut, DecodeOptions(10_000))
                read += 1
        assert tried - read >= 0.8 * tried, form


def test_files_of_images_are_opened_in_one_place():
    found = [
        path.relative_to(REPOSITORY).as_posix()
        for folder in (PACKAGE, DATASETS)
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in OPENING
    ]
    assert found == ["tfds_medvqa/common/images.py"]
