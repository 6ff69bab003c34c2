"""Paths as users give them: "~", addresses, empty text."""

import os
import pathlib

import pytest

from f3ocus_jax.config import parse, paths
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import checkpoint
from f3ocus_jax.federation.settings import ExperimentConfig
from tests.helpers.configs import raw_config, read_config


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["data.data_dir", "data.manual_dir", "model.weights"])
def test_a_tilde_is_the_home_of_the_user(name, home):
    settings = {name.replace(".", "__"): "~/folder", "model__architecture": {}}
    config = read_config("tiny", **settings)
    section, _, field = name.partition(".")
    assert getattr(getattr(config, section), field) == str(home / "folder")


def test_a_relative_checkpoint_directory_becomes_absolute():
    config = read_config("tiny", checkpoint__directory="runs/kept")
    assert config.checkpoint.directory == os.path.abspath("runs/kept")
    assert (
        checkpoint.directory(config.checkpoint, "elsewhere") == pathlib.Path("runs/kept").absolute()
    )


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("data__data_dir", "", "must be the path of a folder, not empty"),
        ("data__data_dir", "gs://bucket/data", "must be a local path; config.checkpoint.directory"),
        ("data__manual_dir", "s3://bucket", "must be a local path"),
        ("model__weights", "https://huggingface.co/dandelin/vilt", "must be a local path"),
        ("checkpoint__directory", "~nobody_of_this_name/x", "must be a path whose user exists"),
        ("checkpoint__directory", "a\0b", "must be a path of printable characters"),
        ("data__data_dir", "\ud800", "must be a path of printable characters"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(name, value, message):
    settings = {name: value} | ({"model__architecture": {}} if "weights" in name else {})
    with pytest.raises(ConfigError, match=message):
        parse(ExperimentConfig, raw_config("tiny", **settings))


def test_an_address_without_its_package_says_what_to_install(monkeypatch):
    config = read_config("tiny", checkpoint__directory="gs://bucket/run")
    assert config.checkpoint.directory == "gs://bucket/run"

    def missing(path):
        raise ImportError(f"Please install gcsfs to access {path}")

    monkeypatch.setattr(type(checkpoint.epath.Path("gs://bucket/run")), "exists", missing)
    with pytest.raises(
        ConfigError, match=r"gs://bucket/run' cannot be reached: .* pip install gcsfs"
    ):
        checkpoint.directory(config.checkpoint, "")


@pytest.mark.parametrize("given", ["gs://bucket/run", "", "   ", "~nobody_of_this_name/run"])
def test_a_workdir_that_is_no_local_folder_is_refused(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"^--workdir = .*, must be"):
        paths.local_folder(given, "--workdir")
    assert not any(tmp_path.iterdir())


def test_a_workdir_is_absolute_and_without_a_tilde(home):
    assert paths.local_folder("~/run", "--workdir") == home / "run"
    assert paths.local_folder("run", "--workdir") == pathlib.Path("run").absolute()
    assert paths.local_folder(pathlib.Path("c:/x"), "--workdir").name == "x"
