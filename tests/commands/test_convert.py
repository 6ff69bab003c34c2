"""Checkpoints into directories: shards, dtypes, image sizes, memory, and what can be wrong."""

import json
import tracemalloc

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import convert
from f3ocus_jax.convert import Target
from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models import FAMILIES
from f3ocus_jax.models.huggingface import (
    directory as huggingface,
    extra_files,
    layout,
    shards,
    tensor_files,
)
from tests.helpers.marking import marked
from tests.helpers.models import first_tiny, random_params, with_vocabulary

KEY = jax.random.key(0)
ANSWERS = tuple(f"answer {place}" for place in range(5))
SHARD_BYTES = 20_000


def write(family, folder, *, dtype="bfloat16", **changes):
    """Writes a sharded directory of a tiny model, as transformers' save_pretrained would."""
    words = load_tokenizer(prompt=FAMILIES[family].prompt)
    spec = with_vocabulary(first_tiny(family)(**changes), words.vocabulary_size)
    params = random_params(FAMILIES[family].make_model(spec))
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), params)
    mappings = FAMILIES[family].tensors(spec.config)
    huggingface.write(
        folder,
        spec,
        layout.stream(mappings, FAMILIES[family].to_submodules(spec, params)),
        words,
        classes={"answers": ANSWERS},
        heads={} if FAMILIES[family].head_prefix else params["head"],
        adapters=params["adapters"],
        shard_bytes=SHARD_BYTES,
    )
    return spec, params


def tensors(folder):
    return dict(tensor_files.stream(tensor_files.locate(folder)))


@pytest.mark.parametrize("family", marked(FAMILIES, extended=("albef", "blip2")))
def test_shards_go_in_and_out_with_every_bit_and_dtype(family, tmp_path):
    spec, params = write(family, tmp_path / "theirs")
    assert (tmp_path / "theirs" / tensor_files.INDEX_FILE).is_file()
    target = Target(shard_bytes=2 * SHARD_BYTES)
    convert.convert(tmp_path / "theirs", None, tmp_path / "ours", target=target)
    theirs, ours = tensors(tmp_path / "theirs"), tensors(tmp_path / "ours")
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype == jnp.bfloat16
        np.testing.assert_array_equal(ours[name], value)
    content = tensor_files.read_json(tmp_path / "ours" / huggingface.CONFIG_FILE)
    assert content["dtype"] == "bfloat16"
    weights = huggingface.load(tmp_path / "ours", key=KEY, dtype="stored")
    assert (weights.spec, weights.answers) == (spec, ANSWERS)
    chex.assert_trees_all_equal(weights.params, params)
    kept = {name: weights.params[name] for name in ("embeddings", "blocks", "readout")}
    assert {leaf.dtype.name for leaf in jax.tree.leaves(kept)} == {"bfloat16"}
    assert weights.params["head"]["answers"]["hidden"]["kernel"].dtype == jnp.float32


@pytest.mark.parametrize(("dtype", "expected"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_weights_become_the_dtype_that_is_asked_for(dtype, expected, tmp_path):
    write("vilt", tmp_path / "theirs", dtype="float16")
    convert.convert(tmp_path / "theirs", None, tmp_path / "ours", target=Target(dtype=dtype))
    assert {value.dtype.name for value in tensors(tmp_path / "ours").values()} == {expected}
    read = huggingface.load(tmp_path / "theirs", key=KEY, dtype=dtype)
    assert read.params["blocks"]["query"]["kernel"].dtype == expected


def test_layers_of_different_dtypes_become_one_that_holds_both(tmp_path):
    write("vilt", tmp_path)
    theirs = tensors(tmp_path)
    name = "vilt.encoder.layer.1.output.dense.weight"
    theirs[name] = theirs[name].astype(np.float32)
    shards.write(tmp_path, theirs.items())
    weights = huggingface.load(tmp_path, key=KEY, dtype="stored")
    kernels = {n: weights.params["blocks"][n]["kernel"].dtype.name for n in ("output", "query")}
    assert kernels == {"output": "float32", "query": "bfloat16"}


def test_one_file_is_converted_with_sizes_and_tokenizer_from_elsewhere(tmp_path):
    write("blip", tmp_path / "theirs")
    file = tmp_path / "alone" / "weights.safetensors"
    file.parent.mkdir()
    tensor_files.write(file, tensors(tmp_path / "theirs"))
    convert.convert(file, tmp_path / "theirs", tmp_path / "ours", sizes=tmp_path / "theirs")
    np.testing.assert_equal(tensors(tmp_path / "ours"), tensors(tmp_path / "theirs"))
    with pytest.raises(WeightsError, match=r"alone/config\.json is missing"):
        convert.convert(file, tmp_path / "theirs", tmp_path / "other")


@pytest.mark.parametrize("family", marked(FAMILIES, extended=list(FAMILIES)[1:]))
def test_positions_are_resized_as_a_run_would_resize_them(family, tmp_path):
    write(family, tmp_path / "theirs", dtype="float32")
    convert.convert(tmp_path / "theirs", None, tmp_path / "ours", target=Target(image_size=24))
    ours = huggingface.load(tmp_path / "ours", key=KEY)
    expected = huggingface.load(tmp_path / "theirs", key=KEY, image_size=24)
    assert ours.spec == expected.spec
    assert ours.spec.config.image_size == 24
    chex.assert_trees_all_equal(ours.params, expected.params)


def test_settings_that_are_no_sizes_are_handed_on(tmp_path):
    write("llava", tmp_path / "theirs")
    path = tmp_path / "theirs" / huggingface.CONFIG_FILE
    content = json.loads(path.read_text())
    content["text_config"] |= {"eos_token_id": 7}
    path.write_text(json.dumps(content | {"transformers_version": "4.40.0"}))
    (tmp_path / "theirs" / "special_tokens_map.json").write_text("{}")
    convert.convert(tmp_path / "theirs", None, tmp_path / "ours")
    made = tensor_files.read_json(tmp_path / "ours" / huggingface.CONFIG_FILE)
    assert made["text_config"]["eos_token_id"] == 7
    assert made["transformers_version"] == "4.40.0"
    assert (tmp_path / "ours" / "special_tokens_map.json").read_text() == "{}"


def test_a_fresh_save_leaves_no_shard_of_an_older_model(tmp_path):
    spec, params = write("vilt", tmp_path, dtype="float32")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    huggingface.save(tmp_path, spec, params, ANSWERS, load_tokenizer())
    assert not list(tmp_path.glob("model-*.safetensors"))
    chex.assert_trees_all_equal(huggingface.load(tmp_path, key=KEY).params, params)


def test_missing_left_over_and_wrongly_shaped_tensors_are_listed(tmp_path):
    write("llava", tmp_path / "theirs")
    theirs = tensors(tmp_path / "theirs")
    del theirs["language_model.lm_head.weight"]
    theirs |= {"extra": np.zeros(1, np.float32), "language_model.model.norm.weight": np.zeros(3)}
    shards.write(tmp_path / "theirs", theirs.items())
    with pytest.raises(WeightsError) as caught:
        convert.convert(tmp_path / "theirs", None, tmp_path / "ours")
    assert "missing: language_model.lm_head.weight" in str(caught.value)
    assert "left over: extra" in str(caught.value)
    assert "language_model.model.norm.weight (3,) instead of (16,)" in str(caught.value)
    assert not (tmp_path / "ours").exists()


def test_what_cannot_be_converted_is_named(tmp_path):
    write("vilt", tmp_path / "theirs")
    with pytest.raises(ConfigError, match="holds the checkpoint, must be another folder"):
        convert.convert(tmp_path / "theirs", None, tmp_path / "theirs")
    with pytest.raises(WeightsError, match=r"a directory or a file in \.safetensors, \.bin"):
        convert.convert(tmp_path / "theirs" / "config.json", None, tmp_path / "ours")
    for name in ("tokenizer.json", "vocab.txt"):
        (tmp_path / "theirs" / name).unlink()
    with pytest.raises(ConfigError, match="nothing is downloaded, so put one of them there"):
        convert.convert(tmp_path / "theirs", None, tmp_path / "ours")


@pytest.mark.extended
def test_reading_holds_the_model_and_one_shard_converting_one_shard_in_and_out(tmp_path):
    # Known beforehand: float32 tensors of 0.3 MB in 9 layers, shards of at most 1 MB.
    sizes = {"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 9}
    spec, _ = write("vilt", tmp_path / "theirs", dtype="float32", **sizes)
    shards.write(tmp_path / "theirs", tensors(tmp_path / "theirs").items(), shard_bytes=10**6)
    files = sorted(tmp_path.glob("theirs/model-*.safetensors"))
    model, shard = (f([p.stat().st_size for p in files]) for f in (sum, max))
    assert model > 6 * shard
    rest = 500_000  # JSON, names, Python
    read = _peak(lambda: huggingface.load(tmp_path / "theirs", key=KEY, adapter_size=None))
    assert read < model + shard + rest
    target = Target(shard_bytes=10**6)
    made = _peak(
        lambda: convert.convert(tmp_path / "theirs", None, tmp_path / "ours", target=target)
    )
    assert made < 3 * shard + rest
    assert extra_files.adapted_stack(tmp_path / "ours") == spec.setup.selectable


def _peak(run):
    run()  # what is compiled and cached by the first call is no matter of the second
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
