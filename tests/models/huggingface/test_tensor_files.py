"""Tensor files: shards, element types, and files that are not what they seem."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.flax
from safetensors.numpy import save_file

from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models.huggingface import tensor_files


@pytest.fixture
def sharded(tmp_path):
    for name, value in (("a", 1.0), ("b", 2.0)):
        save_file({name: np.full(3, value, np.float32)}, tmp_path / f"{name}.safetensors")
    write_index(tmp_path, {"a": "a.safetensors", "b": "b.safetensors"})
    return tmp_path


def write_index(directory, weight_map):
    (directory / tensor_files.INDEX_FILE).write_text(json.dumps({"weight_map": weight_map}))


def test_shards_are_read_through_their_index(sharded):
    tensors = tensor_files.read(tensor_files.locate(sharded))
    np.testing.assert_array_equal(tensors["a"], np.ones(3))
    np.testing.assert_array_equal(tensors["b"], np.full(3, 2.0))


def test_a_shard_that_is_not_there_is_named(sharded):
    (sharded / "b.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"b\.safetensors is missing"):
        tensor_files.locate(sharded)


def test_a_tensor_that_no_shard_holds_is_named(sharded):
    write_index(sharded, {"a": "a.safetensors", "c": "a.safetensors"})
    with pytest.raises(WeightsError, match="names c, which no shard holds"):
        tensor_files.locate(sharded)


def test_an_index_without_a_map_is_refused(sharded):
    write_index(sharded, None)
    with pytest.raises(WeightsError, match="has no weight_map"):
        tensor_files.locate(sharded)


def test_an_index_cannot_lead_out_of_its_directory(sharded):
    inner = sharded / "inner"
    inner.mkdir()
    write_index(inner, {"a": "../a.safetensors"})
    with pytest.raises(WeightsError, match=r"inner/a\.safetensors is missing"):
        tensor_files.locate(inner)


def test_pickled_weights_are_not_read(tmp_path):
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(WeightsError, match=r"neither model\.safetensors nor .* pickled weights"):
        tensor_files.locate(tmp_path)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float64"])
def test_floats_of_any_width_are_read_as_float32(tmp_path, kind):
    path = tmp_path / tensor_files.WEIGHTS_FILE
    if kind == "float64":
        save_file({"a": np.array([0.5, -2.0])}, path)
    else:
        safetensors.flax.save_file({"a": jnp.array([0.5, -2.0], kind)}, path)
    tensors = tensor_files.read(tensor_files.locate(tmp_path))
    assert tensors["a"].dtype == np.float32
    np.testing.assert_array_equal(tensors["a"], [0.5, -2.0])


def test_integers_are_no_weights(tmp_path):
    save_file({"a": np.arange(3)}, tmp_path / tensor_files.WEIGHTS_FILE)
    with pytest.raises(WeightsError, match=r"model\.safetensors: a is I64, must be floats"):
        tensor_files.read(tensor_files.locate(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no JSON"), ("[1]", "holds a list, must be a JSON object")]
)
def test_broken_json_is_named(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=rf"config\.json {message}"):
        tensor_files.read_json(tmp_path / "config.json")


def test_writing_keeps_values_that_are_views_of_others(tmp_path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = tmp_path / tensor_files.WEIGHTS_FILE
    tensor_files.write(path, {"matrix": matrix.T, "row": matrix[1]})
    tensors = tensor_files.read(tensor_files.contents(path))
    np.testing.assert_array_equal(tensors["matrix"], matrix.T)
    np.testing.assert_array_equal(tensors["row"], matrix[1])


def test_a_write_that_fails_keeps_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def fail(partial):
        partial.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        tensor_files.write_whole(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_long_lists_of_names_are_cut():
    names = [str(number) for number in range(25)]
    assert tensor_files.listed(names).endswith("18, 19 and 5 more")
    assert tensor_files.listed(names[:2]) == "0, 1"
