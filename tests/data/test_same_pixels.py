"""Building, training, `predict` and `inspect_data` see the same pixels of every kind of image."""

import base64
import io
import re
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from f3ocus_jax.data import html_page
from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.federation import runs
from f3ocus_jax.federation.run_folder import SavedModel
from tests.helpers.configs import read_config
from tests.helpers.dicom_files import make_dicom_modes
from tests.helpers.image_modes import PAGE, SIDE, make_modes, make_pages
from tests.helpers.own_files import write_csv
from tfds_medvqa.build import build
from tfds_medvqa.common import images

MODES = make_modes() | make_pages() | make_dicom_modes()
INEXACT = {"CMYK": 1, "alpha": 1, "grey and alpha": 1}
"""Largest difference from NumPy where PIL computes with integers."""


class SeenError(Exception):
    """Carries the batch that a model was asked about."""


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """Functions of a mode's name that return its pixels, by the door that they come through."""
    folder = tmp_path_factory.mktemp("own")
    rows = []
    for name, mode in MODES.items():
        path = folder / f"{name}.{mode.suffix}"
        path.write_bytes(mode.content)
        row = {"image": path.name, "question": "is it?", "answer": "yes", "hospital": name}
        rows += [row | {"split": split} for split in ("train", "test")]
    write_csv(folder / "table.csv", rows, ("image", "question", "answer", "hospital", "split"))
    config = read_config(
        "tiny",
        tmp_path_factory.mktemp("data"),
        task="own_data",
        data__datasets=(f"files:{folder}",),
        data__image_page=PAGE,
    )
    clients, summary = read_tables(config.data, Canvas(SIDE))
    page = html_page.make_page("", clients, summary)
    dataset, options = config.data.datasets[0], config.data.read_options
    builder = build(dataset, config.data.data_dir, None, options)
    decoders = {"image": tfds.decode.SkipDecoding()}
    stored = {
        record["client"].decode(): record["image"]
        for record in builder.as_data_source("train", decoders=decoders)
    }
    finished = runs.FinishedRun(folder, config, 0)
    saved = SavedModel(model_of_no_answers(), None, 0)
    finished.__dict__["_model"] = (saved, raise_batch)

    def predict(name):
        with pytest.raises(SeenError) as seen:
            finished.answer(folder / f"{name}.{MODES[name].suffix}", "is it?")
        return seen.value.args[0]

    def inspect(name):
        (shown,) = re.findall(f'<h2>{name}</h2>.*?base64,([^"]*)"', page, re.DOTALL)
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))))

    return {
        "build": lambda name: np.asarray(Image.open(io.BytesIO(stored[name]))),
        "build, decoded": lambda name: np.asarray(images.decode_rgb(stored[name])),
        "training": lambda name: clients[name]["train"].images[np.array([0])][0],
        "predict": predict,
        "inspect": inspect,
    }


def model_of_no_answers():
    """A model that takes pictures of the size of the modes."""
    encode = lambda texts, length: (np.zeros((len(texts), length), np.int32),) * 2  # noqa: E731
    tokenizer = types.SimpleNamespace(encode=encode)
    return types.SimpleNamespace(canvas=lambda data: Canvas(SIDE), tokenizer=tokenizer, findings=())


def raise_batch(params, batch, top):
    raise SeenError(batch.images_BHWC[0])


@pytest.mark.parametrize("name", MODES)
def test_every_door_gives_the_pixels_that_numpy_gives(name, doors):
    expected_HWC = MODES[name].expected_HWC.astype(int)
    pixels = {door: read(name) for door, read in doors.items()}
    for door, pixels_HWC in pixels.items():
        assert pixels_HWC.dtype == np.uint8, door
        assert pixels_HWC.shape == (SIDE, SIDE, 3), door
        np.testing.assert_array_equal(pixels_HWC, pixels["build"], err_msg=door)
    difference = np.abs(pixels["build"].astype(int) - expected_HWC).max()
    assert difference <= INEXACT.get(name, 0)
