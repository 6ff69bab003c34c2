"""SmolVLM against what torch gave (see tests/parity/write_fixtures.py), its sizes and its edges."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from f3ocus_jax.errors import ConfigError, WeightsError
from f3ocus_jax.models import FAMILIES, base, sizes
from f3ocus_jax.models.blocks.siglip import SiglipConfig
from f3ocus_jax.models.huggingface import directory as huggingface
from f3ocus_jax.models.smolvlm import model as smolvlm
from f3ocus_jax.models.smolvlm.config import SmolVlmConfig, standardise
from f3ocus_jax.types import Batch
from tests.helpers.marking import marked
from tests.helpers.models import random_params, tiny_batch, tiny_smolvlm
from tests.helpers.paths import MODEL_FIXTURES
from tests.models import image_tokens_oracle

pytestmark = pytest.mark.usefixtures("full_precision")

FIXTURE = MODEL_FIXTURES / "smolvlm" / "plain"
FAMILY = FAMILIES["smolvlm"]

apply = jax.jit(base.apply, static_argnums=0)


@pytest.mark.parametrize("stack", marked(FAMILY.stacks, extended=("vision",)))
def test_states_scores_and_gradients_equal_those_of_torch(stack):
    weights = huggingface.load(FIXTURE, key=jax.random.key(0), selectable=stack)
    expected = load_file(FIXTURE / "expected.safetensors")
    batch = Batch(
        **{n.removeprefix("batch."): expected[n] for n in expected if n.startswith("batch.")}
    )
    ours = image_tokens_oracle.run(weights.spec, weights.params, batch)
    gradients = [name for name in expected if name.startswith("gradient.")]
    assert len(gradients) == 7
    for name in gradients:
        np.testing.assert_allclose(ours[name], expected[name], atol=1e-4, err_msg=name)
    for name in ("hidden_BTD", "logits_BTV", "logits_BC", "loss"):
        np.testing.assert_allclose(ours[name], expected[name], atol=1e-5, err_msg=name)


def test_pixel_shuffle_joins_squares_of_patches():
    """Oracle: the patches of each square by their row and column."""
    grid = np.random.default_rng(0).normal(size=(2, 6, 6, 5)).astype(np.float32)
    joined = smolvlm.pixel_shuffle(grid.reshape(2, 36, 5), 3)
    assert joined.shape == (2, 4, 45)
    for square, (row, column) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3)]):
        expected = grid[:, row : row + 3, column : column + 3].reshape(2, 45)
        np.testing.assert_array_equal(joined[:, square], expected)


def test_the_answer_depends_on_the_image_and_on_the_question():
    spec = tiny_smolvlm()
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    batch = batch.replace(input_ids_BT=np.where(np.arange(7) == 0, 39, batch.input_ids_BT % 39))
    params = random_params(model)
    logits_BC = apply(model, params, batch)
    other_image = batch.replace(images_BHWC=batch.images_BHWC // 2)
    other_words = np.where(np.arange(7) == 0, 39, (batch.input_ids_BT + 1) % 39)
    for changed in (other_image, batch.replace(input_ids_BT=other_words)):
        assert np.abs(apply(model, params, changed) - logits_BC).max(axis=1).min() > 1e-3


def test_pixels_beyond_the_last_whole_patch_are_not_read():
    image = SiglipConfig(
        **{**vars(tiny_smolvlm().config.vision_config), "image_size": 19, "patch_size": 4}
    )
    spec = tiny_smolvlm(vision_config=image)
    assert spec.config.image_tokens == 4
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    params = random_params(model)
    changed = batch.images_BHWC.copy()
    changed[:, 16:], changed[:, :, 16:] = 0, 0
    np.testing.assert_array_equal(
        apply(model, params, batch), apply(model, params, batch.replace(images_BHWC=changed))
    )


PUBLISHED = {
    "architectures": ["Idefics3ForConditionalGeneration"],
    "image_token_id": 49190,
    "model_type": "idefics3",
    "scale_factor": 4,
    "text_config": {
        "architectures": ["VLlama3ForCausalLM"],
        "head_dim": 64,
        "hidden_size": 576,
        "intermediate_size": 1536,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "pad_token_id": 2,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000,
        "vocab_size": 49280,
    },
    "tie_word_embeddings": False,
    "vision_config": {
        "hidden_size": 768,
        "image_size": 512,
        "max_image_size": {"longest_edge": 512},
        "model_type": "idefics3",
        "num_attention_heads": 12,
        "patch_size": 16,
        "size": {"longest_edge": 2048},
    },
}
"""Sizes as transformers 4 writes those of SmolVLM-256M-Instruct."""


def test_a_published_config_is_read_with_what_it_leaves_out():
    config = sizes.build(SmolVlmConfig, standardise(PUBLISHED))
    published = FAMILY.published["smolvlm_256m"]
    named = sizes.merged(published.settings, published.vocabulary)
    expected = sizes.build(SmolVlmConfig, standardise({**named, "model_type": "idefics3"}))
    text = dataclasses.replace(expected.text_config, pad_token_id=2)
    assert config == dataclasses.replace(expected, text_config=text)
    assert (config.image_tokens, config.max_position_embeddings) == (64, 8192 - 63)
    assert sizes.build(SmolVlmConfig, standardise(sizes.names(config))) == config


@pytest.mark.parametrize(("given", "end"), [(49279, 49279), ([7, 2], 7), (None, 2)])
def test_an_answer_ends_as_generation_config_says(given, end, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(PUBLISHED))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": given}))
    assert huggingface.load_spec(tmp_path).config.text_config.eos_token_id == end


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"scale_factor": 3}, "images are 32 patches wide, must be a multiple of scale_factor = 3"),
        ({"model_type": "idefics2"}, "model_type = 'idefics2', must be one of"),
        ({"vision_config": {"patch_size": 600}}, "patch_size = 600, must be at most image_size"),
        ({"text_config": {"max_position_embeddings": 64}}, "64 image tokens, must be below"),
    ],
)
def test_sizes_that_no_model_can_have_are_refused(named, message):
    with pytest.raises(ConfigError, match=message):
        sizes.build(SmolVlmConfig, standardise(sizes.merged(PUBLISHED, named)))


def test_an_unknown_model_type_lists_the_known_ones_and_where_to_read_on(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "qwen2_vl"}))
    with pytest.raises(WeightsError, match=r"'qwen2_vl'.*'idefics3'.*'smolvlm'.*contributing\.md"):
        huggingface.load_spec(tmp_path)


def test_another_image_size_has_as_many_tokens_as_fit(tmp_path):
    folder = shutil.copytree(FIXTURE, tmp_path / "model")
    weights = huggingface.load(folder, key=jax.random.key(0), image_size=24)
    assert weights.spec.config.image_tokens == 9
    assert weights.params["embeddings"]["vision_embeddings"]["position"].shape == (36, 12)
    with pytest.raises(ConfigError, match="5 patches wide, must be a multiple of scale_factor = 2"):
        huggingface.load_spec(folder, image_size=20)
