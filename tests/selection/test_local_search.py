import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.selection import local_search
from tests.selection import brute_force


def one_block(scores_KL, masks_PKL):
    return local_search.Block(
        jnp.swapaxes(jnp.asarray(masks_PKL), 0, 1),
        jnp.asarray(scores_KL),
        jnp.sum(jnp.asarray(masks_PKL), axis=1, dtype=jnp.int32),
        jnp.sum(jnp.where(masks_PKL, scores_KL[None], 0.0), axis=(1, 2)),
    )


def value(mask_KL, scores_KL, price):
    return -brute_force.worth(mask_KL, scores_KL)[0] - price * np.sum(mask_KL.sum(axis=0) ** 2)


def test_climb_makes_each_clients_best_swap_in_turn():
    scores_KL = brute_force.draw_scores(4, 6, seed=3)
    mask_KL = np.zeros((4, 6), bool)
    mask_KL[:, :3] = True
    prices_P = np.array([0.0, 0.02, 5.0], np.float32)
    climbed = jax.jit(local_search.climb)(one_block(scores_KL, np.stack([mask_KL] * 3)), prices_P)
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
        np.testing.assert_array_equal(climbed.rows_JPL[:, p], expected)
        np.testing.assert_array_equal(climbed.histogram_PL[p], expected.sum(axis=0))
        importance = -brute_force.worth(expected, scores_KL)[0]
        np.testing.assert_allclose(climbed.importance_P[p], importance, rtol=1e-5)


def test_climb_leaves_full_rows_and_ties_alone():
    full = one_block(np.ones((2, 3), np.float32), np.ones((1, 2, 3), bool))
    np.testing.assert_array_equal(local_search.climb(full, jnp.ones(1)).rows_JPL, full.rows_JPL)
    even = one_block(np.ones((2, 4), np.float32), np.array([[[1, 1, 0, 0], [0, 0, 1, 1]]], bool))
    np.testing.assert_array_equal(local_search.climb(even, jnp.ones(1)).rows_JPL, even.rows_JPL)


def test_recombine_takes_whole_rows_from_the_two_parents():
    scores_KL = brute_force.draw_scores(5, 7)
    draw = np.random.default_rng(2)
    first, second = draw.random((2, 3, 5, 7)) < 0.4
    block = one_block(scores_KL, first)
    child = local_search.recombine(jax.random.key(0), block, jnp.swapaxes(second, 0, 1), 1.0)
    rows_PKL = np.swapaxes(np.asarray(child.rows_JPL), 0, 1)
    from_first = (rows_PKL == first).all(axis=2)
    from_second = (rows_PKL == second).all(axis=2)
    assert np.all(from_first | from_second)
    assert not np.all(from_first)
    assert not np.all(from_second)
    np.testing.assert_array_equal(child.histogram_PL, rows_PKL.sum(axis=1))
