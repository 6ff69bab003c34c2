"""The settings of reading reach every builder and the decoder of the built dataset."""

import shutil

import pytest

from f3ocus_jax.data.images import Canvas
from f3ocus_jax.data.reading import read_tables
from f3ocus_jax.data.settings import DataConfig
from f3ocus_jax.errors import DataError
from tests.tfds_medvqa.attacks import set_field
from tests.tfds_medvqa.dummy_builds import dummy_folder
from tfds_medvqa.common.errors import BuildError


@pytest.fixture
def read(tmp_path):
    """A function that reads SLAKE, of which one row has no answer, with some settings."""
    manual = shutil.copytree(dummy_folder("slake"), tmp_path / "manual")
    set_field("slake", manual, "answer", None)

    def read(side=8, **settings):
        config = DataConfig(
            datasets=("slake/english",),
            partition=("dataset",),
            data_dir=str(tmp_path / "data"),
            manual_dir=str(manual),
            **settings,
        )
        return read_tables(config, Canvas(side))[1]

    return read


def test_invalid_rows_stop_a_run_or_are_left_out(read, capsys):
    with pytest.raises(BuildError, match=r"train\.json: entry 0 has 'answer' null"):
        read()
    counts = {"train": 1, "test": 2, "validation": 2}
    assert read(invalid_rows="skip").clients[0].examples == counts
    assert "1 invalid rows left out (no answer: 1)" in capsys.readouterr().out
    with pytest.raises(BuildError, match="was built with 1 invalid rows left out"):
        read()


def test_the_limit_of_pixels_holds_in_building_and_in_decoding_what_is_built(read):
    with pytest.raises(BuildError, match=r"split train has no example.*too large image: 1"):
        read(invalid_rows="skip", max_image_pixels=100)
    read(invalid_rows="skip", max_image_pixels=108)
    with pytest.raises(DataError, match="has 12 x 9 pixels, more than max_image_pixels = 100"):
        read(side=9, invalid_rows="skip", max_image_pixels=100)
