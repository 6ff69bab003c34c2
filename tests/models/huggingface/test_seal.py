"""Files of an exported model damaged at random: one line that names the file, or the same model."""

import dataclasses
import json
import random

import jax
import pytest

from f3ocus_jax import convert
from f3ocus_jax._command_line import EXPECTED_ERRORS
from f3ocus_jax.errors import DamagedError
from f3ocus_jax.models import foundation as foundation_lib
from f3ocus_jax.models.huggingface import directory as huggingface, extra_files
from tests.helpers import damage
from tests.helpers.configs import read_config
from tfds_medvqa.common.integrity import MANIFEST

ANSWERS = ("no", "yes", "grade 1")
CONFIG = read_config("tiny")


def described(folder):
    """Everything that a run takes from a directory: sizes, parameters, classes, tokens."""
    config = dataclasses.replace(CONFIG.model, weights=str(folder), architecture={})
    tokenizer, canvas = foundation_lib.inputs(config, CONFIG.data)
    made = foundation_lib.load(config, ANSWERS, jax.random.key(3))
    ids = tokenizer.encode(["is it a tumour?", "where?"], 12)
    return made.fingerprint, made.spec, canvas, [each.tolist() for each in ids]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    made = foundation_lib.load(CONFIG.model, ANSWERS, jax.random.key(0))
    made.save(folder, made.params)
    return folder


@pytest.fixture(scope="module")
def whole(folder):
    return described(folder)


def assert_nothing_is_silent(folder, whole, draw):
    with damage.damaged(folder, draw) as what:
        message = None
        try:
            assert described(folder) == whole, what
        except EXPECTED_ERRORS as error:
            message = str(error)
    if message is not None:
        assert str(folder) in message, what
        assert "\n" not in message, what


def test_no_damage_to_an_exported_model_is_silent(folder, whole):
    for seed in range(8):
        assert_nothing_is_silent(folder, whole, random.Random(seed))
    assert described(folder) == whole


@pytest.mark.extended
def test_none_of_many_damages_to_an_exported_model_is_silent(folder, whole):
    for seed in range(200):
        assert_nothing_is_silent(folder, whole, random.Random(f"many {seed}"))


def test_every_file_of_an_exported_model_is_listed_and_missed_by_name(folder, whole):
    listed = set(json.loads((folder / MANIFEST).read_text())["files"])
    assert listed == {path.relative_to(folder).as_posix() for path in damage.files(folder)} - {
        MANIFEST
    }
    for name in listed:
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        with pytest.raises(DamagedError, match=f"{name} is missing"):
            described(folder)
        (folder / name).write_bytes(content)


def test_a_model_without_its_adapters_is_refused_by_every_door(folder, tmp_path):
    path = folder / extra_files.ADAPTERS_FILE
    content = path.read_bytes()
    path.unlink()
    try:
        with pytest.raises(DamagedError, match=r"adapters\.safetensors is missing"):
            huggingface.load(folder, key=jax.random.key(0))
        with pytest.raises(DamagedError, match=r"adapters\.safetensors is missing"):
            huggingface.load_spec(folder)
        with pytest.raises(DamagedError, match=r"adapters\.safetensors is missing"):
            convert.convert(folder, None, tmp_path)
    finally:
        path.write_bytes(content)


def test_a_directory_without_a_manifest_is_read_as_it_is(folder, whole):
    content = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).unlink()
    assert described(folder) == whole
    (folder / MANIFEST).write_bytes(content)


def test_a_converted_model_has_a_manifest_and_files_beside_it_are_free(folder, whole, tmp_path):
    convert.convert(folder, None, tmp_path)
    (tmp_path / "README.md").write_text("notes")
    assert described(tmp_path) == whole
    (tmp_path / "README.md").unlink()
    assert described(tmp_path) == whole
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text() + " ")
    with pytest.raises(DamagedError, match=r"config\.json is damaged"):
        described(tmp_path)
