"""Clipped sums equal those of per-example gradients that are formed one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.models import units
from f3ocus_jax.models.vilt import model as vilt
from f3ocus_jax.privacy import clipped_gradient, factor_norms
from tests.helpers.choices import padded_choice
from tests.helpers.example_gradients import one_by_one
from tests.helpers.models import tiny_batch, tiny_vilt
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, EXAMPLES = 4, 6


def batch_with_padding():
    batch = toy_batch(EXAMPLES)
    mask_B, labels_B = np.ones(EXAMPLES, np.float32), np.array(batch.labels_B)
    mask_B[3], labels_B[4] = 0, -1
    return batch.replace(example_mask_B=mask_B, labels_B=labels_B)


def check(model, unit, params, batch, layers, *, clip, slots=LAYERS, tolerance=1e-5, **settings):
    frozen, rows_L, head = units.split(params, unit)
    choice = padded_choice(layers, slots, model.num_layers)
    trains_head = settings.setdefault("trains_head", True)
    settings = {"skip_frozen": True} | settings
    sums = clipped_gradient.make_clipped_sum(
        model, unit=unit, loss="cross_entropy", clip=clip, **settings
    )
    trained = (choice.take(rows_L), head)
    (rows_R, of_head), norms_B = jax.jit(sums)(frozen, rows_L, choice, trained, batch)
    each, expected_B = one_by_one(model, unit, params, batch, layers, trains_head=trains_head)
    np.testing.assert_allclose(norms_B, expected_B, rtol=tolerance, atol=tolerance)
    factors_B = np.minimum(1, clip / np.maximum(expected_B, 1e-30))
    weigh = lambda leaf: np.tensordot(factors_B, np.asarray(leaf, np.float64), 1)  # noqa: E731
    expected = jax.tree.map(weigh, each)
    for leaf, wanted in zip(*map(jax.tree.leaves, ((rows_R, of_head), expected)), strict=True):
        np.testing.assert_allclose(leaf[: len(wanted)], wanted, rtol=tolerance, atol=tolerance)
        assert not np.any(leaf[len(wanted) :])
    return expected_B


@pytest.mark.parametrize(
    ("unit", "layers", "settings"),
    [
        ("adapter", [0, 2], {}),
        ("block", [1, 2, 3], {}),
        ("block", [0, 3], {"skip_frozen": False}),
        ("adapter", [3], {"trains_head": False}),
        ("block", [], {}),
        ("block", [1], {"parts": 3}),
    ],
    ids=["adapter", "block", "vectorised", "without the head", "head alone", "in parts"],
)
def test_the_clipped_sum_is_that_of_gradients_one_by_one(unit, layers, settings):
    model, batch = toy_model(layers=LAYERS), batch_with_padding()
    params = model.init(jax.random.key(0))
    norms_B = check(model, unit, params, batch, layers, clip=0.05, **settings)
    assert (norms_B[[3, 4]] == 0).all()
    assert (norms_B > 0.05).any()  # else nothing was clipped


def test_a_large_limit_clips_nothing():
    model, batch = toy_model(layers=LAYERS), batch_with_padding()
    norms_B = check(model, "adapter", model.init(jax.random.key(1)), batch, [0, 1], clip=1e6)
    assert norms_B.max() < 1e6


def test_no_example_adds_more_than_the_limit_whatever_the_others_are():
    model = toy_model(layers=LAYERS)
    params = model.init(jax.random.key(0))
    # Parameters that make all gradients large.
    params["head"] = jax.tree.map(lambda leaf: 50 * leaf + 10, params["head"])
    frozen, rows_L, head = units.split(params, "block")
    choice = padded_choice([0, 1, 2, 3], LAYERS, LAYERS)
    sums = jax.jit(
        clipped_gradient.make_clipped_sum(
            model, unit="block", loss="cross_entropy", clip=0.3, skip_frozen=True, trains_head=True
        )
    )
    batch = toy_batch(EXAMPLES)

    def flat(mask_B):
        part = batch.replace(example_mask_B=mask_B)
        found, _ = sums(frozen, rows_L, choice, (choice.take(rows_L), head), part)
        return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])

    everyone = np.ones(EXAMPLES, np.float32)
    moved = [
        np.linalg.norm(flat(everyone) - flat(everyone - np.eye(EXAMPLES, dtype=np.float32)[one]))
        for one in range(EXAMPLES)
    ]
    assert max(moved) <= 0.3 * (1 + 1e-4)
    assert max(moved) >= 0.3 * (1 - 1e-4)  # attained: the noise is not more than needed


def test_an_example_whose_norm_is_not_finite_adds_nothing():
    factors_B = clipped_gradient.clip_factors(jnp.array([np.inf, np.nan, 2.0, 0.0]), 1.0)
    np.testing.assert_array_equal(factors_B, [0, 0, 0.5, 1])


@pytest.mark.parametrize(("tokens", "wide", "out"), [(2, 7, 9), (9, 3, 2)])
def test_both_ways_to_the_norm_of_a_linear_map_agree_with_the_gradient(tokens, wide, out):
    draw = np.random.default_rng(0)
    inputs, outputs = draw.normal(size=(tokens, wide)), draw.normal(size=(tokens, out))
    found = factor_norms._of_linear_map(jnp.float32(inputs), jnp.float32(outputs))
    assert float(found) == pytest.approx(np.sum((inputs.T @ outputs) ** 2), rel=1e-5)


@pytest.mark.extended
@pytest.mark.parametrize("unit", ["adapter", "block"])
def test_a_vision_language_model_has_the_norms_of_its_gradients_one_by_one(unit):
    spec = tiny_vilt()
    model = vilt.make_model(spec)
    params, batch = model.init(jax.random.key(0)), tiny_batch(spec, examples=4)
    check(model, unit, params, batch, [0], clip=0.05, slots=2, tolerance=1e-4)
