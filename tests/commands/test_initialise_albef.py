"""An ALBEF from a sentence encoder: its text layers are the encoder's, tensor by tensor."""

import chex
import numpy as np
import pytest

from f3ocus_jax import initialise as command
from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models.huggingface import tensor_files
from tests.helpers import bert as reference
from tests.helpers.albef_start import SENTENCE, options, sizes, text_states, written


def test_the_hidden_states_of_a_sentence_are_the_encoders(tmp_path):
    tensors = reference.random_bert()
    expected = reference.hidden_states(tensors, SENTENCE)
    found = text_states(written(tmp_path, tensors), SENTENCE)
    for ours, layer in zip(found, (0, 2, 4), strict=True):
        np.testing.assert_allclose(ours, expected[layer], atol=1e-4)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("attention.self.query", "attention.self.key"),
        ("attention.self.value", "attention.output.dense"),
        ("attention.output.LayerNorm", "output.LayerNorm"),
    ],
)
def test_exchanged_tensors_of_a_layer_change_the_states(one, other, tmp_path):
    tensors = reference.random_bert()
    expected = reference.hidden_states(tensors, SENTENCE)
    exchanged = dict(tensors)
    for part in ("weight", "bias"):
        first, second = (f"encoder.layer.3.{name}.{part}" for name in (one, other))
        exchanged[first], exchanged[second] = tensors[second], tensors[first]
    *same, last = text_states(written(tmp_path, exchanged), SENTENCE)
    np.testing.assert_allclose(same[-1], expected[2], atol=1e-4)
    assert np.abs(last - expected[4]).max() > 0.1


def test_what_is_taken_over_and_what_is_drawn_is_counted(tmp_path, capsys):
    written(tmp_path, reference.random_bert())
    lines = capsys.readouterr().out.splitlines()
    # Five embeddings and four layers of sixteen; ten of cross-attention in two fusion blocks.
    assert "text_encoder: 69 of 89 tensors taken over, 20 drawn" in lines
    assert any(line.startswith("visual_encoder: 0 of ") for line in lines)
    assert lines[-1] == f"text encoder: {tmp_path / 'bert'}; written to {tmp_path / 'albef'}"


@pytest.mark.extended
@pytest.mark.parametrize(("asked", "taken"), [(2, 37), (6, 69)])
def test_the_layers_that_both_have_are_taken_over(asked, taken, tmp_path):
    tensors = reference.random_bert()
    stored = tensor_files.read(tensor_files.locate(written(tmp_path, tensors, layers=asked)))
    same = [
        n for n, value in tensors.items() if np.array_equal(stored.get(f"text_encoder.{n}"), value)
    ]
    assert len(same) == taken


def test_names_with_a_prefix_and_of_the_first_checkpoints_are_known(tmp_path):
    tensors = reference.random_bert()
    old = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in tensors.items()
    }
    for name, values in (("new", tensors), ("old", old)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, values)
    new, old = (
        tensor_files.read(tensor_files.locate(tmp_path / name / "albef")) for name in ("new", "old")
    )
    chex.assert_trees_all_equal(new, old)


def test_the_seed_decides_what_is_drawn_alone(tmp_path):
    tensors = reference.random_bert()
    for name, seed in (("one", 0), ("other", 1)):
        (tmp_path / name).mkdir()
        written(tmp_path / name, tensors, seed=seed)
    one, other = (
        tensor_files.read(tensor_files.locate(tmp_path / name / "albef"))
        for name in ("one", "other")
    )
    same = {name for name in one if np.array_equal(one[name], other[name])}
    assert {f"text_encoder.{name}" for name in tensors} <= same
    assert not any(name.endswith("crossattention.self.query.weight") for name in same)


def test_an_encoder_that_does_not_fit_is_refused(tmp_path):
    tensors = reference.random_bert()
    source = reference.write(tmp_path / "bert", tensors)
    with pytest.raises(ConfigError, match=r"--width=32, must be 16: the text layers are those of"):
        sizes(source, width=32)
    with pytest.raises(ConfigError, match="--layers=1, must be at least 2"):
        sizes(source, layers=1)
    del tensors["encoder.layer.1.output.dense.bias"]
    (tmp_path / "without").mkdir()
    with pytest.raises(WeightsError, match=r"missing: encoder\.layer\.1\.output\.dense\.bias"):
        written(tmp_path / "without", tensors)
    assert not (tmp_path / "without" / "albef").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "roberta"}, "model_type = 'roberta', must be 'bert'"),
        ({"position_embedding_type": "relative_key"}, "must be 'absolute'"),
        ({"num_attention_heads": None}, "lacks num_attention_heads"),
    ],
)
def test_what_is_no_bert_is_refused(changes, message, tmp_path):
    source = reference.write(tmp_path / "bert", reference.random_bert(), **changes)
    with pytest.raises(WeightsError, match=message):
        sizes(source)


@pytest.mark.parametrize("name", ["vision_width", "vision_layers"])
def test_options_of_an_albef_are_refused_for_a_vilt(name):
    asked = options(vision_width=None, vision_layers=None)
    setattr(asked, name, 32)
    with pytest.raises(ConfigError, match=f"--{name}=32 is for --family=albef"):
        command.vilt_sizes(asked)
