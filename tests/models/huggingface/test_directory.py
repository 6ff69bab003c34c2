"""Models as Hugging Face directories: round trips, other answers, and what can be wrong."""

import json
import pathlib
import shutil
from typing import Any

import chex
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from f3ocus_jax.data.tokenizer_files import load_tokenizer
from f3ocus_jax.errors import WeightsError
from f3ocus_jax.models import head as head_lib
from f3ocus_jax.models.huggingface import (
    config_file,
    directory as huggingface,
    extra_files,
    tensor_files,
)
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.models import random_params, tiny_vilt
from tests.helpers.paths import MODEL_FIXTURES

FIXTURE = MODEL_FIXTURES / "vilt" / "plain"
ANSWERS = ("brain", "liver", "no", "spleen", "yes")
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer()


@pytest.fixture(scope="module")
def spec(tokenizer):
    return tiny_vilt(vocab_size=tokenizer.vocabulary_size)


@pytest.fixture(scope="module")
def params(spec):
    return random_params(vilt.make_model(spec))


@pytest.fixture
def directory(tmp_path):
    """A copy of a directory that torch wrote."""
    return pathlib.Path(shutil.copytree(FIXTURE, tmp_path / "model"))


def edit_tensors(directory, **changes):
    """Replaces tensors, named with __ for a dot, and drops those that are None."""
    path = directory / tensor_files.WEIGHTS_FILE
    tensors: dict[str, Any] = dict(load_file(path))
    tensors |= {name.replace("__", "."): value for name, value in changes.items()}
    save_file({name: value for name, value in tensors.items() if value is not None}, path)


def edit_config(directory, **changes):
    path = directory / huggingface.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_saved_model_loads_with_every_bit(tmp_path, spec, params, tokenizer):
    huggingface.save(tmp_path / "new" / "model", spec, params, ANSWERS, tokenizer)
    weights = huggingface.load(tmp_path / "new" / "model", key=KEY)
    assert weights.spec == spec
    assert weights.answers == ANSWERS
    chex.assert_trees_all_equal(weights.params, params)
    assert load_tokenizer(tmp_path / "new" / "model").pieces.get_vocab() == (
        tokenizer.pieces.get_vocab()
    )


def test_a_model_saved_over_another_leaves_nothing_of_it(tmp_path, spec, params, tokenizer):
    huggingface.save(tmp_path, spec, params, ANSWERS, tokenizer)
    (tmp_path / "records.jsonl").touch()
    plain, smaller = tiny_vilt(vocab_size=spec.config.vocab_size, adapter_size=0), {"adapters": {}}
    huggingface.save(tmp_path, plain, {**params, **smaller}, ANSWERS, tokenizer)
    assert huggingface.load(tmp_path, key=KEY).spec.setup.adapter_size == 0
    assert (tmp_path / "records.jsonl").exists()


@pytest.mark.parametrize("survivors", range(3))
def test_a_writer_that_dies_leaves_no_directory_that_looks_complete(
    survivors, tmp_path, spec, params, tokenizer, monkeypatch
):
    huggingface.save(tmp_path, spec, params, ANSWERS, tokenizer)
    replace, renamed = pathlib.Path.replace, []

    def die(path, target):
        if len(renamed) == survivors:
            raise KeyboardInterrupt
        renamed.append(target)
        return replace(path, target)

    monkeypatch.setattr(pathlib.Path, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        huggingface.save(tmp_path, spec, params, ANSWERS, tokenizer)
    with pytest.raises(WeightsError, match=r"config.json is missing: .* no complete"):
        huggingface.load(tmp_path, key=KEY)
    assert not list(tmp_path.glob(".*partial*"))


def test_the_head_keeps_answers_it_knows_and_gets_fresh_ones_for_others(params):
    new = ("Yes.", "kidney", "brain", "lung")
    old = params["head"]["answers"]
    head = head_lib.align(old, ANSWERS, new, KEY)
    for place, source in ((0, 4), (2, 0)):
        kernel, source_kernel = head["answers"]["kernel"], old["answers"]["kernel"]
        np.testing.assert_array_equal(kernel[:, place], source_kernel[:, source])
        assert head["answers"]["bias"][place] == old["answers"]["bias"][source]
    assert head["answers"]["kernel"].shape == (32, 4)
    np.testing.assert_array_equal(head["answers"]["bias"][np.array([1, 3])], [0, 0])
    fresh = head["answers"]["kernel"][:, np.array([1, 3])]
    assert not np.allclose(fresh[:, 0], fresh[:, 1])
    assert head["hidden"] is old["hidden"]


def test_the_same_answers_keep_the_head_as_it_is(params):
    head = params["head"]["answers"]
    assert head_lib.align(head, ANSWERS, ANSWERS, KEY) is head


def test_loading_for_other_answers_resizes_the_head(directory):
    own, other = (
        huggingface.load(directory, key=KEY, answers=answers)
        for answers in (None, ("LABEL_3", "yes"))
    )
    assert other.spec.setup.num_answers == 2
    kernels = [weights.params["head"]["answers"]["answers"]["kernel"] for weights in (own, other)]
    np.testing.assert_array_equal(kernels[0][:, 3], kernels[1][:, 0])


def test_adapters_are_fresh_where_the_directory_has_none(directory):
    weights = huggingface.load(directory, key=KEY, adapter_size=3)
    assert weights.spec.setup.adapter_size == 3
    assert weights.params["adapters"]["down"]["kernel"].shape == (2, 16, 3)


def test_adapters_of_another_size_are_refused(tmp_path, spec, params, tokenizer):
    huggingface.save(tmp_path, spec, params, ANSWERS, tokenizer)
    with pytest.raises(WeightsError, match=r"adapters.* has bottleneck 4, .*adapter_size = 9"):
        huggingface.load(tmp_path, key=KEY, adapter_size=9)


def test_a_directory_without_head_gets_a_fresh_one_for_the_given_answers(directory):
    tensors = load_file(directory / tensor_files.WEIGHTS_FILE)
    edit_tensors(
        directory,
        **{name: None for name in tensors if name.startswith("classifier")},
        mlm_score__bias=np.zeros(40, np.float32),
        vilt__embeddings__text_embeddings__position_ids=np.zeros((1, 10), np.int64),
    )
    with pytest.raises(WeightsError, match="has no answer head, so the answers must be given"):
        huggingface.load(directory, key=KEY)
    weights = huggingface.load(directory, key=KEY, answers=ANSWERS)
    assert weights.params["head"]["answers"]["answers"]["bias"].shape == (5,)


@pytest.mark.parametrize("where", ["model.safetensors", ""])
def test_a_checkpoint_of_another_class_names_the_class(directory, where):
    edit_tensors(directory, vilt__layernorm__weight=None)
    edit_config(directory, architectures=["ViltForMaskedLM"])
    spec, _ = config_file.read(directory)
    stored = tensor_files.locate(directory)
    with pytest.raises(WeightsError, match="holds a ViltForMaskedLM, must be a ViltForQuestion"):
        huggingface.locate(spec, stored, directory / where)
    with pytest.raises(WeightsError, match="holds a ViltForMaskedLM, must be a ViltForQuestion"):
        huggingface.load(directory, key=KEY)


def test_missing_left_over_and_wrongly_shaped_tensors_are_listed(directory):
    edit_tensors(
        directory,
        vilt__layernorm__weight=None,
        vilt__pooler__dense__bias=np.zeros(3, np.float32),
        vilt__extra=np.zeros(1, np.float32),
    )
    with pytest.raises(WeightsError) as caught:
        huggingface.load(directory, key=KEY)
    message = str(caught.value)
    assert "missing: vilt.layernorm.weight" in message
    assert "left over: vilt.extra" in message
    assert "of another shape: vilt.pooler.dense.bias (3,) instead of (16,)" in message
    assert "\n" not in message


@pytest.mark.parametrize("keep", [4, 200, 20_000])
def test_a_truncated_file_is_named(directory, keep):
    path = directory / tensor_files.WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"model\.safetensors is truncated or no safetensors"):
        huggingface.load(directory, key=KEY)


def test_truncated_adapters_are_named(tmp_path, spec, params, tokenizer):
    huggingface.save(tmp_path, spec, params, ANSWERS, tokenizer)
    path = tmp_path / extra_files.ADAPTERS_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=r"adapters\.safetensors is truncated"):
        huggingface.load(tmp_path, key=KEY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "bert"}, "model_type = 'bert', must be one of"),
        ({"hidden_size": "16"}, "hidden_size = '16', must be of type int"),
        ({"image_size": [16, 24]}, r"image_size = \[16, 24\], must be square"),
        ({"id2label": {"1": "yes", "2": "no"}}, "id2label lacks '0', must count from 0"),
        ({"hidden_act": "swish"}, "hidden_act = 'swish', must be one of"),
    ],
)
def test_a_config_that_cannot_be_built_is_named(directory, changes, message):
    edit_config(directory, **changes)
    with pytest.raises(WeightsError, match=rf"config\.json: .*{message}"):
        huggingface.load_spec(directory)


def test_sizes_are_read_without_weights(directory):
    (directory / tensor_files.WEIGHTS_FILE).unlink()
    edit_config(directory, image_size=[16, 16])
    assert huggingface.load_spec(directory).config.image_size == 16


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"nowhere/config\.json is missing"):
        huggingface.load(tmp_path / "nowhere", key=KEY)


def test_answers_and_tokenizer_must_fit_what_is_saved(tmp_path, spec, params, tokenizer):
    with pytest.raises(ValueError, match="2 answers for a head of 5"):
        huggingface.save(tmp_path / "x", spec, params, ["no", "yes"], tokenizer)
    with pytest.raises(ValueError, match=r"tokenizer of \d+ entries for 40 embeddings"):
        huggingface.save(tmp_path / "x", tiny_vilt(), params, ANSWERS, tokenizer)
    assert not (tmp_path / "x").exists()
