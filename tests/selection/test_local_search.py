import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from f3ocus_jax.selection import local_search
from tests.selection import brute_force


def one_block(scores_KL, masks_PKL):
    return local_search.Block(
        jnp.moveaxis(jnp.asarray(masks_PKL), 0, -1),
        jnp.asarray(scores_KL),
        jnp.sum(jnp.asarray(masks_PKL), axis=1, dtype=jnp.int32).T,
        jnp.sum(jnp.where(masks_PKL, scores_KL[None], 0.0), axis=(1, 2)),
    )


def value(mask_KL, scores_KL, price):
    return -brute_force.worth(mask_KL, scores_KL)[0] - price * np.sum(mask_KL.sum(axis=0) ** 2)


def test_climb_makes_each_clients_best_swap_in_turn():
    scores_KL = brute_force.draw_scores(4, 6, seed=3)
    mask_KL = np.zeros((4, 6), bool)
    for row_L, start in zip(mask_KL, (0, 0, 1, 3), strict=True):
        row_L[start : start + 3] = True
    prices_P = np.array([0.0, *np.geomspace(0.001, 0.3, 30), 5.0], np.float32)
    block = one_block(scores_KL, np.stack([mask_KL] * len(prices_P)))
    climbed = jax.jit(local_search.climb)(block, prices_P)
    for p, price in enumerate(prices_P):
        expected = mask_KL.copy()
        for k in range(4):
            tried = [expected]
            for gone in np.flatnonzero(expected[k]):
                for new in np.flatnonzero(~expected[k]):
                    other = expected.copy()
                    other[k, gone], other[k, new] = False, True
                    tried.append(other)
            expected = max(tried, key=lambda mask: value(mask, scores_KL, price))
        np.testing.assert_array_equal(climbed.rows_JLP[..., p], expected)
        np.testing.assert_array_equal(climbed.histogram_LP[:, p], expected.sum(axis=0))
        importance = -brute_force.worth(expected, scores_KL)[0]
        np.testing.assert_allclose(climbed.importance_P[p], importance, rtol=1e-5)


@pytest.mark.parametrize("weight", [0.05, 0.3, 0.5, 0.9])
def test_a_price_ranks_choices_as_the_weighted_sum_of_both_objectives_does(weight):
    """Weighted in units of the front's extent; Σ n² is the variance times L, but for a constant."""
    extent_M, layers = np.array([1.7, 0.23], np.float32), 6
    price = float(local_search.prices(jnp.float32([weight]), jnp.asarray(extent_M), layers)[0])
    scores_KL = brute_force.draw_scores(5, layers, seed=4)
    draw = np.random.default_rng(0)
    masks = draw.permuted(np.tile(np.arange(layers) < 2, (30, 5, 1)), axis=-1)
    points = np.array([brute_force.worth(mask, scores_KL) for mask in masks])
    weighted = points / extent_M @ np.array([weight, 1 - weight])
    worth = np.array([value(mask, scores_KL, price) for mask in masks])
    np.testing.assert_allclose(
        worth - worth[0], -(weighted - weighted[0]) * extent_M[0] / weight, rtol=1e-4, atol=1e-5
    )


def test_prices_stay_finite_at_the_ends_of_a_front():
    found = local_search.prices(jnp.float32([0.0, 0.01, 0.99, 1.0]), jnp.ones(2), 1)
    np.testing.assert_allclose(found, [99, 99, 1 / 99, 1 / 99], rtol=1e-5)


def test_climb_leaves_full_rows_and_ties_alone():
    full = one_block(np.ones((2, 3), np.float32), np.ones((1, 2, 3), bool))
    np.testing.assert_array_equal(local_search.climb(full, jnp.ones(1)).rows_JLP, full.rows_JLP)
    even = one_block(np.ones((2, 4), np.float32), np.array([[[1, 1, 0, 0], [0, 0, 1, 1]]], bool))
    np.testing.assert_array_equal(local_search.climb(even, jnp.ones(1)).rows_JLP, even.rows_JLP)


def test_climb_starts_from_other_rows_if_told():
    scores_KL = brute_force.draw_scores(5, 7)
    draw = np.random.default_rng(2)
    first, second = draw.permuted(np.tile(np.arange(7) < 3, (2, 3, 5, 1)), axis=-1)
    rows_JLP = jnp.moveaxis(jnp.asarray(second), 0, -1)
    told = local_search.climb(one_block(scores_KL, first), jnp.zeros(3), rows_JLP=rows_JLP)
    expected = local_search.climb(one_block(scores_KL, second), jnp.zeros(3))
    np.testing.assert_array_equal(told.rows_JLP, expected.rows_JLP)
    np.testing.assert_array_equal(told.histogram_LP, expected.histogram_LP)
    np.testing.assert_allclose(told.importance_P, expected.importance_P, rtol=1e-5)


def test_uniforms_differ_from_place_to_place():
    first, second, none = local_search.uniforms(jax.random.key(0), (3, 4), (5,), (0,))
    assert first.shape == (3, 4)
    assert none.shape == (0,)
    numbers = np.concatenate([first.ravel(), second])
    assert len(set(numbers.tolist())) == 17
    assert np.all((numbers > 0) & (numbers < 1))


def test_shared_gumbel_shifts_one_draw_from_client_to_client():
    noise_JLP = np.asarray(local_search.shared_gumbel(jax.random.key(0), 7, 3, 50))
    assert noise_JLP.shape == (7, 3, 50)
    for j in range(7):
        np.testing.assert_array_equal(noise_JLP[j], np.roll(noise_JLP[0], -j, axis=0))
    assert len(np.unique(noise_JLP[0])) == 150


def test_shared_gumbel_is_gumbel():
    noise_V = np.asarray(local_search.shared_gumbel(jax.random.key(1), 1, 32, 1000)).ravel()
    assert scipy.stats.kstest(noise_V, scipy.stats.gumbel_r.cdf).pvalue > 0.01


def test_hashed_uniforms_of_different_keys_are_independent():
    draws_VN = np.stack(
        [local_search.hashed_uniforms(key, 4096) for key in jax.random.split(jax.random.key(2), 8)]
    )
    assert np.all((draws_VN > 0) & (draws_VN < 1))
    for lag in range(3):
        shifted_VN = np.roll(draws_VN, lag, axis=1)
        both = np.corrcoef(np.concatenate([draws_VN, shifted_VN]))[:8, 8:]
        beside = both if lag else both - np.eye(8)
        assert np.max(np.abs(beside)) < 5 / np.sqrt(4096)


def test_the_hash_is_undone_by_its_published_inverse():
    """C. Wellons' "lowbias32_r", which exists since every word has another hash."""
    words = np.concatenate([np.arange(1000), 2 ** np.arange(32), [2**32 - 1]]).astype(np.uint32)
    hashed = np.asarray(local_search._mix(jnp.asarray(words)))
    assert len(set(hashed.tolist())) == len(set(words.tolist()))
    hashed = (hashed ^ (hashed >> 16)) * np.uint32(0x43021123)
    hashed = (hashed ^ (hashed >> 15) ^ (hashed >> 30)) * np.uint32(0x1D69E2A5)
    np.testing.assert_array_equal(hashed ^ (hashed >> 16), words)
