"""LLaVA against what torch gave (see tests/parity/write_fixtures.py), its sizes and its edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import FAMILIES, base, image_tokens, sizes
from f3ocus_jax.models.blocks import llama
from f3ocus_jax.models.blocks.clip import ClipConfig
from f3ocus_jax.models.blocks.llama_config import LlamaConfig, RopeConfig
from f3ocus_jax.models.huggingface import directory as huggingface
from f3ocus_jax.models.llava.config import LlavaConfig, standardise
from f3ocus_jax.types import Batch
from tests.helpers.marking import marked
from tests.helpers.models import random_params, tiny_batch, tiny_llava
from tests.helpers.paths import MODEL_FIXTURES
from tests.models import image_tokens_oracle

pytestmark = pytest.mark.usefixtures("full_precision")

FIXTURE = MODEL_FIXTURES / "llava" / "plain"
FAMILY = FAMILIES["llava"]

apply = jax.jit(base.apply, static_argnums=0)


@pytest.mark.parametrize("stack", marked(FAMILY.stacks, extended=("vision",)))
def test_states_scores_and_gradients_equal_those_of_torch(stack):
    weights = huggingface.load(FIXTURE, key=jax.random.key(0), selectable=stack)
    expected = load_file(FIXTURE / "expected.safetensors")
    batch = Batch(
        **{n.removeprefix("batch."): expected[n] for n in expected if n.startswith("batch.")}
    )
    ours = image_tokens_oracle.run(weights.spec, weights.params, batch)
    gradients = [n.removeprefix("gradient.") for n in expected if n.startswith("gradient.")]
    assert len(gradients) == 7
    for name, published in FAMILY.rename(gradients).items():
        wanted, found = expected[f"gradient.{name}"], ours[f"gradient.{published}"]
        np.testing.assert_allclose(found, wanted, atol=1e-4, err_msg=name)
    for name in ("hidden_BTD", "logits_BTV", "logits_BC", "loss"):
        np.testing.assert_allclose(ours[name], expected[name], atol=1e-5, err_msg=name)


def test_either_selectable_stack_gives_the_same_logits():
    language, vision = tiny_llava(adapter_size=0), tiny_llava(adapter_size=0, selectable="vision")
    params = random_params(FAMILY.make_model(language))
    moved = FAMILY.to_params(vision, FAMILY.to_submodules(language, params))
    assert jax.tree.leaves(moved["blocks"])[0].shape[0] == 3
    batch = tiny_batch(language)
    logits_BC = apply(FAMILY.make_model(language), params, batch)
    moved_BC = apply(FAMILY.make_model(vision), moved, batch)
    np.testing.assert_allclose(logits_BC, moved_BC, atol=1e-5)


@pytest.mark.parametrize("stack", FAMILY.stacks)
def test_padding_of_the_question_changes_nothing(stack):
    spec = tiny_llava(selectable=stack)
    model, batch = FAMILY.make_model(spec), tiny_batch(spec, examples=2, tokens=8)
    params = random_params(model)
    other_ids = np.where(batch.attention_mask_BT > 0, batch.input_ids_BT, 7)
    logits_BC = apply(model, params, batch)
    changed_BC = apply(model, params, batch.replace(input_ids_BT=other_ids))
    np.testing.assert_array_equal(logits_BC, changed_BC)
    length = int(batch.attention_mask_BT[1].sum())
    unpadded = batch.replace(
        input_ids_BT=batch.input_ids_BT[:, :length],
        attention_mask_BT=batch.attention_mask_BT[:, :length],
    )
    np.testing.assert_allclose(apply(model, params, unpadded)[1], logits_BC[1], atol=1e-5)


def test_an_image_takes_the_place_of_its_token():
    draw = np.random.default_rng(0)
    text_BTD = draw.normal(size=(3, 5, 2)).astype(np.float32)
    image_BPD = draw.normal(size=(3, 4, 2)).astype(np.float32)
    place_B = np.array([0, 2, 4])
    joined = image_tokens.insert_image(*map(jnp.asarray, (text_BTD, image_BPD, place_B)))
    for example, place in enumerate(place_B):
        text_TD = text_BTD[example]
        expected = np.concatenate([text_TD[:place], image_BPD[example], text_TD[place + 1 :]])
        np.testing.assert_array_equal(joined[example], expected)


def test_the_answer_depends_on_the_image_and_on_the_question():
    spec = tiny_llava()
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    batch = batch.replace(input_ids_BT=np.where(np.arange(7) == 0, 39, batch.input_ids_BT % 39))
    params = random_params(model)
    logits_BC = apply(model, params, batch)
    other_image = batch.replace(images_BHWC=batch.images_BHWC // 2)
    other_words = np.where(np.arange(7) == 0, 39, (batch.input_ids_BT + 1) % 39)
    for changed in (other_image, batch.replace(input_ids_BT=other_words)):
        assert np.abs(apply(model, params, changed) - logits_BC).max(axis=1).min() > 1e-3


@pytest.mark.extended
def test_grouped_queries_equal_queries_with_repeated_keys_and_values():
    grouped = tiny_llava().config.text_config
    full = LlamaConfig(**{**vars(grouped), "num_key_value_heads": 4})
    block = llama.init_block(grouped, jax.random.key(0))
    repeated = dict(block)
    for name in ("key", "value"):
        kernel = block[name]["kernel"].reshape(16, 2, 4)
        repeated[name] = {"kernel": np.repeat(kernel, 2, axis=1).reshape(16, 16)}
    hidden_BTD = jax.random.normal(jax.random.key(1), (2, 6, 16))
    attention_inputs = llama.make_attention_inputs(grouped, jnp.arange(6)[None], 6)
    np.testing.assert_allclose(
        llama.apply_block(grouped, block, hidden_BTD, attention_inputs),
        llama.apply_block(full, repeated, hidden_BTD, attention_inputs),
        atol=1e-5,
    )


def test_attention_depends_on_distances_alone():
    # Su et al., 2021: turned queries and keys meet at the difference of their positions.
    config = tiny_llava().config.text_config
    heads = jax.random.normal(jax.random.key(0), (1, 1, 5, config.head_dim))
    near, far = (
        llama.apply_rope(
            heads, llama.make_attention_inputs(config, jnp.arange(5)[None] + start, 40)
        )
        for start in (0, 30)
    )
    np.testing.assert_allclose(
        near @ near.swapaxes(-1, -2), far @ far.swapaxes(-1, -2), rtol=1e-4, atol=1e-4
    )


@pytest.mark.extended
def test_a_bfloat16_model_keeps_its_dtype_and_is_near_the_float32_one():
    spec = tiny_llava()
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    params = random_params(model)
    narrow = {
        name: jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params[name])
        for name in ("embeddings", "blocks", "readout")
    }
    hidden, context = model.embed(narrow["embeddings"], batch)
    row = jax.tree.map(lambda leaf: leaf[0], (narrow["blocks"], params["adapters"]))
    assert hidden.dtype == model.block(*row, hidden, context).dtype == jnp.bfloat16
    logits_BC = apply(model, {**params, **narrow}, batch)
    assert logits_BC.dtype == jnp.float32
    wide_BC = apply(model, params, batch)
    np.testing.assert_allclose(logits_BC, wide_BC, atol=0.1 * np.abs(wide_BC).max())


def test_a_published_config_is_read_with_what_it_leaves_out():
    # As llava-hf/llava-1.5-7b-hf holds it: most of the language model's sizes are defaults.
    named = {
        "image_token_index": 32000,
        "projector_hidden_act": "gelu",
        "text_config": {
            "max_position_embeddings": 4096,
            "model_type": "llama",
            "rms_norm_eps": 1e-05,
            "vocab_size": 32064,
        },
        "vision_config": {
            "hidden_size": 1024,
            "image_size": 336,
            "intermediate_size": 4096,
            "model_type": "clip_vision_model",
            "num_attention_heads": 16,
            "num_hidden_layers": 24,
            "patch_size": 14,
            "projection_dim": 768,
            "vocab_size": 32000,
        },
        "vision_feature_layer": -2,
        "vision_feature_select_strategy": "default",
    }
    config = sizes.build(LlavaConfig, standardise(named))
    assert (config.text_config.hidden_size, config.text_config.num_key_value_heads) == (4096, 32)
    assert config.vision_config.hidden_act == "quick_gelu"
    assert config.vision_layers == 23
    assert sizes.build(LlavaConfig, standardise(sizes.names(config))) == config


@pytest.mark.parametrize(
    "text",
    [{"rope_theta": 5e5}, {"rope_parameters": {"rope_theta": 500000, "rope_type": "default"}}],
)
def test_the_base_of_rotary_positions_is_read_from_either_place(text):
    config = sizes.build(LlavaConfig, standardise({"text_config": text}))
    assert config.text_config.rope_parameters == RopeConfig(rope_theta=5e5)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"text_config": {"model_type": "mistral"}}, "model_type = 'mistral', must be one of"),
        ({"text_config": {"rope_scaling": {"type": "linear"}}}, "rope_type = 'linear', must be"),
        ({"text_config": {"num_attention_heads": 6}}, "must be a multiple of num_attention_heads"),
        ({"text_config": {"num_key_value_heads": 5}}, "multiple of num_key_value_heads = 5"),
        ({"text_config": {"head_dim": 7}}, "head_dim = 7, must be even"),
        ({"text_config": {"max_position_embeddings": 576}}, "576 image tokens, must be below"),
        ({"vision_config": {"model_type": "siglip_vision_model"}}, "must be one of .'clip"),
        ({"vision_feature_layer": [-2, -5]}, "must be one number"),
        ({"vision_feature_layer": 3}, "vision_feature_layer = 3, must be negative"),
        ({"vision_feature_layer": -25}, "vision_feature_layer = -25, must be at least -24"),
        ({"vision_feature_select_strategy": "full"}, "'full', must be one of .'default'"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings = True, must be one of"),
    ],
)
def test_a_config_that_cannot_be_built_is_refused(named, message):
    with pytest.raises(ConfigError, match=message):
        sizes.build(LlavaConfig, standardise(named))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tiny_llava(selectable="text"), r"must be one of \['language', 'vision'\]"),
        (lambda: tiny_llava(image_std=(0.5, 0.5)), "image_std = .*must hold 1 or 3 numbers"),
        (lambda: ClipConfig(image_size=20, patch_size=8), "must be a multiple of patch_size = 8"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_images_and_questions_that_do_not_fit_are_refused():
    spec = tiny_llava()
    model = FAMILY.make_model(spec)
    embeddings = random_params(model)["embeddings"]
    with pytest.raises(ValueError, match=r"images have shape \(8, 8, 3\), this LLaVA takes"):
        model.embed(embeddings, tiny_batch(spec.with_image_size(8)))
    with pytest.raises(ValueError, match="questions have 13 tokens, this LLaVA takes at most 12"):
        model.embed(embeddings, tiny_batch(spec, tokens=13))
