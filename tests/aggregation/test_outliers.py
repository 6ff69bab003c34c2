"""Norms against the round's median: who is an outlier, and what becomes of its update."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation import RULES, outliers
from f3ocus_jax.aggregation.layerwise import Change, global_norm
from f3ocus_jax.aggregation.settings import AggregationConfig


def judge(norms, finite=None, ratio=5.0, treatment=outliers.DROP):
    finite_K = np.ones(len(norms), bool) if finite is None else np.array(finite)
    return outliers.judge(np.float32(norms), finite_K, ratio=ratio, treatment=treatment)


@pytest.mark.parametrize("clients", [1, 2, 3, 8, 9])
def test_ratios_are_taken_to_the_lower_median_of_finite_norms(clients):
    norms = np.random.default_rng(clients).random(clients).astype(np.float32) + 0.1
    found = judge([*norms, np.nan, np.inf], [True] * clients + [False] * 2)
    median = sorted(norms)[(clients - 1) // 2]
    np.testing.assert_allclose(found.ratios_K[:clients], norms / median, rtol=1e-6)
    assert np.isnan(found.ratios_K[clients:]).all()
    np.testing.assert_array_equal(found.accepted_K, [True] * clients + [False] * 2)


@pytest.mark.parametrize("treatment", outliers.OUTLIERS)
def test_half_of_the_clients_cannot_hide_and_only_drop_leaves_them_out(treatment):
    found = judge([1.0, 1e30, 2.0, 1e30], treatment=treatment)
    np.testing.assert_array_equal(found.outlying_K, [False, True, False, True])
    expected = ~found.outlying_K if treatment == outliers.DROP else np.ones(4, bool)
    np.testing.assert_array_equal(found.accepted_K, expected)


def test_clients_that_change_nothing_do_not_lower_the_median():
    found = judge([0.0, 0.0, 0.0, 2.0, 2.0])
    np.testing.assert_array_equal(found.ratios_K, [0, 0, 0, 1, 1])
    assert not judge([0.0, 0.0]).outlying_K.any()
    assert judge([np.nan], [False]).accepted_K.tolist() == [False]


@pytest.mark.parametrize("clip_norm", [0.0, 5.0, 20.0])
def test_clipping_scales_outliers_to_the_largest_norm_that_is_none(clip_norm):
    draw = np.random.default_rng(0)
    sizes = np.array([1.0, 2.0, 100.0, 1.5, 1e30])
    rows = draw.normal(size=(5, 2, 3)).astype(np.float32)
    heads = draw.normal(size=(5, 4)).astype(np.float32)
    lengths = np.sqrt(np.sum(rows**2, axis=(1, 2)) + np.sum(heads**2, axis=1))
    after = np.minimum(sizes, clip_norm or np.inf)  # what is left after `clip_norm`
    rows, heads = (
        rows * np.float32((after / lengths)[:, None, None]),
        heads * np.float32((after / lengths)[:, None]),
    )
    norms = judge(sizes, treatment=outliers.CLIP)
    clipped = outliers.clip_outliers(Change({"w": rows}, {"a": heads}), norms, clip_norm)
    found = [
        float(global_norm(Change({"w": clipped.rows["w"][k]}, {"a": clipped.heads["a"][k]})))
        for k in range(5)
    ]
    np.testing.assert_allclose(found, np.minimum(after, [1, 2, 10, 1.5, 10]), rtol=1e-5)
    np.testing.assert_array_equal(clipped.rows["w"][[0, 1, 3]], rows[[0, 1, 3]])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("treatment", outliers.OUTLIERS)
def test_updates_are_kept_only_where_all_are_needed_at_once(rule, treatment):
    given = json.loads(json.dumps({"rule": rule, "outliers": treatment}))  # as a run.json has them
    assert AggregationConfig(**given).streams == ((rule, treatment) == ("mean", "report"))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_norms_neither_overflow_nor_vanish(scale):
    change = Change({"w": jnp.full((2, 2), 3 * scale)}, {"a": jnp.full(4, 4 * scale)})
    assert float(jax.jit(global_norm)(change)) == pytest.approx(10 * scale)


def test_a_norm_beyond_float32_is_its_largest_number():
    change = Change({"w": jnp.full((100, 100), 3e38)}, {"a": jnp.zeros(1)})
    assert float(global_norm(change)) == np.finfo(np.float32).max
