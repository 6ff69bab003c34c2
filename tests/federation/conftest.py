"""Data that the tests of this folder share."""

import pathlib

import pytest


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of the datasets: what one test builds, the others find."""
    return tmp_path_factory.mktemp("data")
