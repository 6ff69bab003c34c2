"""DICOM files: rescale, windows, photometric interpretations, frames, codecs, and no patient."""

import io
import pathlib
import sys

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread, pixels, uid

from f3ocus_jax.data.questions import read_picture
from f3ocus_jax.errors import DataError
from tests.helpers.dicom_files import MARKER, dicom, items
from tests.helpers.image_modes import grey, saved
from tests.helpers.own_files import write_csv
from tfds_medvqa.build import build
from tfds_medvqa.common import image_limits, images
from tfds_medvqa.common.errors import BuildError, ImageError, ImageSizeError
from tfds_medvqa.common.image_limits import DecodeOptions

DRAW = np.random.default_rng(0)
TWELVE = DRAW.integers(0, 1 << 12, (8, 8), dtype=np.uint16)
FULL = DRAW.integers(0, 1 << 16, (8, 8), dtype=np.uint16)
SIGNED = DRAW.integers(-1024, 2000, (8, 8)).astype(np.int16)
BYTE = DRAW.integers(0, 256, (8, 8), dtype=np.uint8)
COLOUR = DRAW.integers(0, 256, (8, 8, 3), dtype=np.uint8)
FRAMES = DRAW.integers(0, 256, (3, 8, 8), dtype=np.uint8)
FULL[0, 0] = 65535
HOUNSFIELD = grey(np.clip((TWELVE - 1024.0 + 1000) * 255 / 2000, 0, 255))
LUT = DRAW.integers(0, 4096, 4096, dtype=np.uint16)
CT = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024}


def linear(values, center, width):
    """PS3.3 C.11.2.1.2.1, with 0 and 255 as the smallest and largest output."""
    scaled = ((values - (center - 0.5)) / (width - 1) + 0.5) * 255
    scaled = np.where(values <= center - 0.5 - (width - 1) / 2, 0, scaled)
    return np.where(values > center - 0.5 + (width - 1) / 2, 255, scaled)


CASES = {
    "bits of the header": (dicom(TWELVE // 8, BitsStored=12), grey(TWELVE // 8 * 255.0 / 4095)),
    "bits of the values": (dicom(TWELVE // 8), grey(TWELVE // 8 * 255.0 / 1023)),
    "16 bits": (dicom(FULL), grey(FULL / 257)),
    "8 bits": (dicom(BYTE), grey(BYTE)),
    "one bit": (dicom(BYTE % 2, BitsStored=1), grey(BYTE % 2 * 255.0)),
    "implicit": (dicom(BYTE, syntax=uid.ImplicitVRLittleEndian), grey(BYTE)),
    "deflated": (dicom(BYTE, syntax=uid.DeflatedExplicitVRLittleEndian), grey(BYTE)),
    "CT without a window": (dicom(TWELVE, **CT), HOUNSFIELD),
    "CT with a window": (
        dicom(TWELVE, WindowCenter=40, WindowWidth=401, **CT),
        grey(linear(TWELVE - 1024.0, 40, 401)),
    ),
    "the first of two windows": (
        dicom(TWELVE, WindowCenter=[40, 600], WindowWidth=[401, 2001], **CT),
        grey(linear(TWELVE - 1024.0, 40, 401)),
    ),
    "signed CT": (
        dicom(SIGNED, Modality="CT"),
        grey(np.clip((SIGNED + 1000.0) * 255 / 2000, 0, 255)),
    ),
    "window of one value": (
        dicom(BYTE, WindowCenter=100, WindowWidth=1),
        grey(np.where(BYTE > 99.5, 255.0, 0)),
    ),
    "exact window": (
        dicom(TWELVE, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="LINEAR_EXACT"),
        grey(np.clip((TWELVE - 1500.0) * 255 / 1000, 0, 255)),
    ),
    "sigmoid": (
        dicom(TWELVE, WindowCenter=2000, WindowWidth=1000, VOILUTFunction="SIGMOID"),
        grey(255 / (1 + np.exp(-4 * (TWELVE - 2000.0) / 1000))),
    ),
    "VOI LUT": (
        dicom(TWELVE, VOILUTSequence=items(LUTDescriptor=[4096, 0, 12], LUTData=LUT.tobytes())),
        grey(LUT[TWELVE] * 255.0 / 4095),
    ),
    "modality LUT": (
        dicom(
            TWELVE,
            ModalityLUTSequence=items(
                LUTDescriptor=[4096, 0, 16], LUTData=LUT.tobytes(), ModalityLUTType="US"
            ),
            WindowCenter=2000,
            WindowWidth=3001,
        ),
        grey(linear(LUT[TWELVE].astype(float), 2000, 3001)),
    ),
    "modality LUT without a window": (
        dicom(
            TWELVE,
            ModalityLUTSequence=items(
                LUTDescriptor=[4096, 0, 16], LUTData=LUT.tobytes(), ModalityLUTType="US"
            ),
        ),
        grey(LUT[TWELVE] * 255.0 / 65535),
    ),
    "falling rescale": (
        dicom(BYTE, RescaleSlope=-2, RescaleIntercept=510),
        255 - grey(BYTE),
    ),
    "white as 0": (dicom(BYTE, PhotometricInterpretation="MONOCHROME1"), 255 - grey(BYTE)),
    "enhanced": (
        dicom(
            TWELVE,
            SharedFunctionalGroupsSequence=items(
                PixelValueTransformationSequence=items(RescaleSlope=1, RescaleIntercept=-1024),
                FrameVOILUTSequence=items(WindowCenter=40, WindowWidth=401),
            ),
        ),
        grey(linear(TWELVE - 1024.0, 40, 401)),
    ),
    "colour": (dicom(COLOUR), COLOUR),
    "JPEG": (
        dicom(BYTE, syntax=uid.JPEGBaseline8Bit, data=saved(BYTE, "JPEG", quality=100)),
        grey(np.asarray(Image.open(io.BytesIO(saved(BYTE, "JPEG", quality=100))))),
    ),
    "JPEG 2000": (
        dicom(
            BYTE,
            syntax=uid.JPEG2000Lossless,
            data=saved(BYTE, "JPEG2000", irreversible=False, no_jp2=True),
        ),
        grey(BYTE),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_those_that_the_standard_says(name):
    content, expected_HWC = CASES[name]
    stored = images.encode_checked(content).getvalue()
    for shown in (images.decode_rgb(content), images.decode_rgb(stored)):
        np.testing.assert_array_equal(np.asarray(shown), expected_HWC)


def test_a_window_gives_what_pydicom_gives():
    content = dicom(TWELVE, BitsStored=12, HighBit=11, WindowCenter=900, WindowWidth=1500)
    dataset = dcmread(io.BytesIO(content))
    expected = pixels.apply_windowing(TWELVE, dataset) * 255 / 4095
    shown = np.asarray(images.decode_rgb(content))[..., 0]
    assert np.abs(shown - expected).max() <= 0.5 + 1e-9


def test_run_length_encoding_and_ycbcr_are_decoded():
    dataset = dcmread(io.BytesIO(dicom(TWELVE)))
    dataset.compress(uid.RLELossless)
    file = io.BytesIO()
    dataset.save_as(file)
    np.testing.assert_array_equal(
        np.asarray(images.decode_rgb(file.getvalue())), grey(TWELVE * 255.0 / 4095)
    )
    luma, blue, red = np.moveaxis(COLOUR.astype(float) - (0, 128, 128), -1, 0)
    green = luma - 0.344136 * blue - 0.714136 * red
    expected = np.stack([luma + 1.402 * red, green, luma + 1.772 * blue], -1).clip(0, 255)
    shown = np.asarray(images.decode_rgb(dicom(COLOUR, PhotometricInterpretation="YBR_FULL")))
    assert np.abs(shown - expected).max() <= 1


def test_a_palette_is_applied():
    tables = DRAW.integers(0, 1 << 16, (3, 256), dtype=np.uint16)
    named = dict(zip(("Red", "Green", "Blue"), tables, strict=True))
    elements = {f"{each}PaletteColorLookupTableDescriptor": [256, 0, 16] for each in named}
    elements |= {f"{n}PaletteColorLookupTableData": t.tobytes() for n, t in named.items()}
    content = dicom(BYTE, PhotometricInterpretation="PALETTE COLOR", **elements)
    expected = np.rint(np.moveaxis(tables[:, BYTE], 0, -1) / 257)
    np.testing.assert_array_equal(np.asarray(images.decode_rgb(content)), expected)


def test_of_several_frames_one_must_be_chosen_and_all_count_as_pixels():
    content = dicom(FRAMES, frames=3)
    with pytest.raises(ImageError, match="has 3 frames, and none is chosen; image_page is one"):
        images.decode_rgb(content)
    with pytest.raises(ImageError, match="has 3 frames, and 4 is none of them"):
        images.decode_rgb(content, DecodeOptions(page=4))
    shown = images.decode_rgb(content, DecodeOptions(192, page=2))
    np.testing.assert_array_equal(np.asarray(shown), grey(FRAMES[1]))
    with pytest.raises(ImageSizeError, match="has 8 x 8 x 3 pixels, more than max_image_pixels"):
        images.decode_rgb(content, DecodeOptions(191, page=2))


def test_the_limit_holds_before_anything_is_decoded(monkeypatch):
    with pytest.raises(ImageSizeError, match="has 60000 x 60000 pixels"):
        images.decode_rgb(dicom(BYTE, Rows=60_000, Columns=60_000))
    monkeypatch.setattr(image_limits, "MAX_HEADER_BYTES", 10_000)
    bomb = dicom(
        np.zeros((100, 2000), np.uint8),
        syntax=uid.DeflatedExplicitVRLittleEndian,
        Rows=1,
        Columns=1,
    )
    assert len(bomb) < 2000
    with pytest.raises(ImageSizeError, match="has more than 18000 bytes when inflated"):
        images.decode_rgb(bomb, DecodeOptions(1000))


BROKEN = {
    "no pixels": (dicom(BYTE, PixelData=None), "is a DICOM file without pixel data"),
    "header cut": (dicom(BYTE)[:200], "is a damaged DICOM file|without pixel data"),
    "pixels cut": (dicom(BYTE)[:-20], "cannot be decoded"),
    "pixels too short": (dicom(BYTE, PixelData=b"1234"), "cannot be decoded"),
    "no rows": (dicom(BYTE, Rows=None), "is a damaged DICOM file"),
    "width of 0": (dicom(BYTE, WindowCenter=9, WindowWidth=0), "window of width 0"),
    "unknown window": (
        dicom(BYTE, WindowCenter=9, WindowWidth=9, VOILUTFunction="CURVE"),
        "window function 'CURVE'",
    ),
    "unknown photometric": (
        dicom(BYTE, PhotometricInterpretation="HSV"),
        "photometric interpretation|cannot be decoded",
    ),
    "JPEG-LS": (
        dicom(BYTE, syntax=uid.JPEGLSLossless, data=b"\xff\xd8\xff\xf7"),
        r"compressed as JPEG-LS .*install a package that decodes it \(.*pylibjpeg.*\)",
    ),
    "JPEG lossless": (
        dicom(BYTE, syntax=uid.JPEGLosslessSV1, data=b"\xff\xd8\xff\xc3"),
        r"compressed as JPEG Lossless.*\(.*pylibjpeg-libjpeg.*\)",
    ),
    "video": (dicom(BYTE, syntax=uid.MPEG2MPML, data=b"1234"), "compressed as MPEG2 .*not read"),
    "damaged JPEG": (
        dicom(BYTE, syntax=uid.JPEGBaseline8Bit, data=saved(BYTE, "JPEG")[:90]),
        r"is DICOM \(JPEG Baseline.* cannot be decoded",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_told_in_one_line(name, tmp_path):
    content, message = BROKEN[name]
    path = tmp_path / "scan.dcm"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_picture(path)
    assert "scan.dcm" in str(error.value)
    assert "\n" not in str(error.value)
    assert MARKER not in str(error.value)


def test_damaged_files_end_in_an_image_error():
    draw, whole = np.random.default_rng(0), dicom(TWELVE, **CT)
    messages = []
    for _ in range(150):
        content = bytearray(whole)
        for place in draw.integers(132, len(content), 3):
            content[place] = draw.integers(256)
        try:
            images.decode_rgb(bytes(content), DecodeOptions(10_000))
        except ImageError as error:
            messages.append(str(error))
    assert len(messages) >= 15
    assert not any(MARKER in message or "\n" in message for message in messages)


def test_without_pydicom_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"needs pydicom: pip install 'f3ocus_jax\[dicom\]'"):
        images.decode_rgb(dicom(BYTE))


def test_a_build_holds_nothing_of_the_patient(tmp_path, capfd):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "scan.dcm").write_bytes(dicom(TWELVE, StudyDescription=MARKER, **CT))
    row = {"image": "scan.dcm", "question": "is it?", "answer": "yes"}
    rows = [row | {"split": split} for split in ("train", "test")]
    write_csv(folder / "table.csv", rows, ("image", "question", "answer", "split"))
    builder = build(f"files:{folder}", tmp_path / "data")
    np.testing.assert_array_equal(builder.as_data_source("train")[0]["image"], HOUNSFIELD)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert len(files) > 4
    assert all(MARKER.encode() not in path.read_bytes() for path in files)
    assert b"Mustermann" in (folder / "scan.dcm").read_bytes()
    assert MARKER not in "".join(capfd.readouterr())


def test_a_file_that_cannot_be_used_is_named_by_the_build(tmp_path):
    (tmp_path / "scan.dcm").write_bytes(dicom(FRAMES, frames=3))
    row = {"image": "scan.dcm", "question": "is it?", "answer": "yes", "split": "train"}
    write_csv(tmp_path / "table.csv", [row, row | {"split": "test"}], tuple(row))
    with pytest.raises(BuildError, match=r"line 2 names .*scan\.dcm: has 3 frames"):
        build(f"files:{tmp_path}", tmp_path / "data")
    assert not list(pathlib.Path(tmp_path, "data").rglob("*.array_record*"))


def test_a_large_file_is_made_smaller():
    with Image.open(images.encode_checked(dicom(np.zeros((40, 60), np.uint8)), 20)) as image:
        assert (image.size, image.format) == ((30, 20), "JPEG")
