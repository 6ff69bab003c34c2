"""BLIP against what torch gave (see tests/parity/write_fixtures.py), its sizes and its edges."""

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.models import FAMILIES, base
from f3ocus_jax.models.blocks.bert import TextConfig
from f3ocus_jax.models.blocks.vision import VisionConfig
from f3ocus_jax.models.huggingface import directory as huggingface
from f3ocus_jax.types import Batch
from tests.helpers.marking import marked
from tests.helpers.models import random_params, tiny_batch, tiny_blip
from tests.helpers.paths import MODEL_FIXTURES
from tests.models.blip import blip_oracle

pytestmark = pytest.mark.usefixtures("full_precision")

FIXTURE = MODEL_FIXTURES / "blip" / "plain"
FAMILY = FAMILIES["blip"]

apply = jax.jit(base.apply, static_argnums=0)


@pytest.mark.parametrize("stack", marked(FAMILY.stacks, extended=("vision",)))
def test_states_scores_and_gradients_equal_those_of_torch(stack):
    weights = huggingface.load(FIXTURE, key=jax.random.key(0), selectable=stack)
    expected = load_file(FIXTURE / "expected.safetensors")
    batch = Batch(
        **{n.removeprefix("batch."): expected[n] for n in expected if n.startswith("batch.")}
    )
    answers = (expected["answer_ids_BT"], expected["answer_mask_BT"])
    ours = blip_oracle.run(weights.spec, weights.params, batch, answers)
    compared = [name for name in expected if name in ours]
    assert sum(name.startswith("gradient.") for name in compared) == 7
    assert {"question_BTD", "logits_BC", "logits_BTV", "loss"} < set(compared)
    # What follows a text's padding means nothing.
    for scores in (ours, expected):
        scores["logits_BTV"] = scores["logits_BTV"] * answers[1][..., None]
    for name in compared:
        atol = 1e-4 if name.startswith("gradient.") else 1e-5
        np.testing.assert_allclose(ours[name], expected[name], atol=atol, err_msg=name)


def test_either_selectable_stack_gives_the_same_logits():
    text, vision = tiny_blip(adapter_size=0), tiny_blip(adapter_size=0, selectable="vision")
    params = random_params(FAMILY.make_model(text))
    moved = FAMILY.to_params(vision, FAMILY.to_submodules(text, params))
    assert jax.tree.leaves(moved["blocks"])[0].shape[0] == 2
    batch = tiny_batch(text)
    logits_BC = apply(FAMILY.make_model(text), params, batch)
    moved_BC = apply(FAMILY.make_model(vision), moved, batch)
    np.testing.assert_allclose(logits_BC, moved_BC, atol=1e-6)


@pytest.mark.parametrize("stack", FAMILY.stacks)
def test_padding_of_the_question_changes_nothing(stack):
    spec = tiny_blip(selectable=stack)
    model, batch = FAMILY.make_model(spec), tiny_batch(spec, examples=2, tokens=8)
    params = random_params(model)
    other_ids = np.where(batch.attention_mask_BT > 0, batch.input_ids_BT, 7)
    logits_BC, changed_BC = (
        apply(model, params, b) for b in (batch, batch.replace(input_ids_BT=other_ids))
    )
    np.testing.assert_array_equal(logits_BC, changed_BC)


@pytest.mark.extended
def test_the_decoder_does_not_see_later_tokens():
    spec = tiny_blip()
    model, batch = FAMILY.make_model(spec), tiny_batch(spec, examples=1)
    params = random_params(model)
    ids_BT, mask_BT = np.array([[2, 9, 8, 7]]), np.ones((1, 4), np.int32)
    other_BT = np.array([[2, 9, 5, 6]])
    scores, other = (
        blip_oracle.forward(spec, model, params, batch, (ids, mask_BT))["logits_BTV"]
        for ids in (ids_BT, other_BT)
    )
    np.testing.assert_array_equal(scores[:, :2], other[:, :2])
    assert not np.allclose(scores[:, 2], other[:, 2])


def test_integer_pixels_are_scaled_as_the_checkpoint_says():
    spec = tiny_blip(image_mean=(0.1, 0.2, 0.3), image_std=(0.5, 0.6, 0.7))
    model, batch = FAMILY.make_model(spec), tiny_batch(spec)
    params = random_params(model)
    shares = np.float32(batch.images_BHWC) / 255
    by_hand = (shares - np.float32([0.1, 0.2, 0.3])) / np.float32([0.5, 0.6, 0.7])
    logits_BC = apply(model, params, batch)
    by_hand_BC = apply(model, params, batch.replace(images_BHWC=by_hand))
    np.testing.assert_allclose(logits_BC, by_hand_BC, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: tiny_blip(selectable="decoder"),
            r"'decoder', must be one of \['text', 'vision'\]",
        ),
        (lambda: tiny_blip(image_std=(0.5, 0.5)), "image_std = .*must hold 1 or 3 numbers"),
        (lambda: tiny_blip(image_std=(0.0,)), "image_std = .*must be above 0"),
        (lambda: tiny_blip(text_config=TextConfig()), "hidden_size = 16, must be .* = 768"),
        (lambda: VisionConfig(image_size=20), "must be a multiple of patch_size = 16"),
        (lambda: TextConfig(hidden_size=20), "must be a multiple of num_attention_heads = 8"),
        (lambda: TextConfig(bos_token_id=-1), "bos_token_id = -1, must be at least 0"),
    ],
)
def test_impossible_sizes_are_refused(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_images_and_questions_that_do_not_fit_are_refused():
    spec = tiny_blip()
    model = FAMILY.make_model(spec)
    embeddings = random_params(model)["embeddings"]
    with pytest.raises(ValueError, match=r"images have shape \(8, 8, 3\), this BLIP takes"):
        model.embed(embeddings, tiny_batch(spec.with_image_size(8)))
    with pytest.raises(ValueError, match="questions have 13 tokens, this BLIP takes at most 12"):
        model.embed(embeddings, tiny_batch(spec, tokens=13))
