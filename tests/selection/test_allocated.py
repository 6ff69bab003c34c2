"""Fed-HeLLo's allocations: shapes, published weights, and how often layers are drawn."""

import functools
import itertools

import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import Requirements, allocated
from tests.selection import brute_force

POPULATION, LAYERS = 2, 12
BUDGETS = np.array([2, 4, 6], np.int32)


@functools.cache
def selector(shape, randomised=False):
    """One of each, so that tests share what is compiled."""
    options = {"shape": shape, "randomised": randomised}
    return selection.make_selector("allocated", population=POPULATION, generations=1, **options)


def choose(shape, randomised=False, *, seed=0, scores_KL=None, wanted=None):
    if scores_KL is None:
        scores_KL = brute_force.draw_scores(3, LAYERS)
    limits = wanted and selection.limits.make_limits(wanted, scores_KL, BUDGETS)
    seeds_PKL = np.zeros((POPULATION, 3, LAYERS), bool)
    key = jax.random.key(seed)
    return np.asarray(
        selector(shape, randomised)(key, scores_KL, BUDGETS, seeds_PKL, limits).mask_KL
    )


@pytest.mark.parametrize(
    ("shape", "counts"),
    [
        ("triangle", [3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0]),
        ("inverted_triangle", [0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3]),
        ("bottleneck", [3, 2, 1, 0, 0, 0, 0, 0, 0, 1, 2, 3]),
        ("uniform", [1] * 12),
    ],
)
def test_an_allocation_draws_its_shape_whatever_the_scores(shape, counts):
    for scores_KL in (brute_force.draw_scores(3, LAYERS, seed=seed) for seed in (0, 1)):
        mask_KL = choose(shape, scores_KL=scores_KL)
        assert mask_KL.sum(axis=1).tolist() == BUDGETS.tolist()
        assert mask_KL.sum(axis=0).tolist() == counts


def test_weights_are_those_of_the_authors_code():
    """Its probabilities of a bottleneck of 12 layers, in 27ths; the triangles have the same."""
    published = [3, 3, 3, 2, 2, 1, 1, 1, 2, 3, 3, 3]
    assert allocated.shape_weights("bottleneck", 12).tolist() == published
    assert allocated.shape_weights("triangle", 12).tolist() == [3] * 6 + [2] * 3 + [1] * 3
    assert allocated.shape_weights("inverted_triangle", 12).tolist() == [1] * 3 + [2] * 3 + [3] * 6
    assert allocated.shape_weights("uniform", 12).tolist() == [1] * 12


def chances(weights, budget):
    """Probability of each set, drawn in turn without replacement."""
    sets = dict.fromkeys(itertools.combinations(range(len(weights)), budget), 0.0)
    for order in itertools.permutations(range(len(weights)), budget):
        left, chance = sum(weights), 1.0
        for layer in order:
            chance, left = chance * weights[layer] / left, left - weights[layer]
        sets[tuple(sorted(order))] += chance
    return sets


@pytest.mark.parametrize("shape", ["bottleneck", "triangle", "uniform"])
def test_layers_are_drawn_in_turn_by_their_weights(shape):
    """Shares of 3 000 draws of two layers of five, within four standard deviations."""
    select = selector(shape, randomised=True)
    scores_KL, budgets = np.full((300, 5), 0.2, np.float32), np.full(300, 2, np.int32)
    seeds_PKL = np.zeros((POPULATION, 300, 5), bool)
    drawn = np.concatenate(
        [select(jax.random.key(n), scores_KL, budgets, seeds_PKL).mask_KL for n in range(10)]
    )
    expected = chances(allocated.shape_weights(shape, 5).tolist(), 2)
    for layers, chance in expected.items():
        share = np.mean((drawn == np.isin(np.arange(5), layers)).all(axis=1))
        assert share == pytest.approx(chance, abs=4 * np.sqrt(chance * (1 - chance) / len(drawn)))


def test_every_round_draws_anew_and_a_key_decides():
    first, again, other = (choose("bottleneck", True, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.sum(axis=1).tolist() == BUDGETS.tolist()


def squares(values, labels):
    groups = [values[labels == level] for level in range(3)]
    return sum(float(np.sum((group - group.mean()) ** 2)) for group in groups if len(group))


@pytest.mark.parametrize("seed", range(4))
def test_levels_are_the_three_clusters_of_least_squared_distance(seed):
    """Against all 3^7 clusterings, in float64."""
    values = np.random.default_rng(seed).exponential(size=7).astype(np.float32)
    found = np.asarray(allocated.level_weights(values)).astype(int) - 1
    labels = (np.array(each) for each in itertools.product(range(3), repeat=7))
    exact = values.astype(np.float64)
    best = min(squares(exact, each) for each in labels)
    assert squares(exact, found) == pytest.approx(best, rel=1e-4, abs=1e-6)
    assert (np.diff(found[np.argsort(values)]) >= 0).all()
    assert set(found) == {0, 1, 2}


def test_layers_of_equal_scores_have_one_weight():
    assert np.asarray(allocated.level_weights(np.full(6, 0.25, np.float32))).tolist() == [1] * 6
    two = np.float32([0.1, 0.9, 0.1, 0.1])
    assert np.asarray(allocated.level_weights(two)).tolist() == [1, 3, 1, 1]


def test_fisher_draws_by_the_mean_scores_of_the_clients_that_are_present():
    scores_KL = np.full((3, LAYERS), 0.03, np.float32)
    scores_KL[:2, 3], scores_KL[:2, 5], scores_KL[2, 7] = 0.5, 0.2, 0.67
    present = Requirements(present_K=np.array([True, True, False]))
    drawn = np.stack(
        [choose("fisher", seed=seed, scores_KL=scores_KL, wanted=present) for seed in range(60)]
    )
    assert not drawn[:, 2].any()
    often_L = drawn[:, :2].sum(axis=(0, 1))
    assert often_L.argmax() == 3
    assert often_L[7] < often_L[3] / 1.5


def test_forbidden_layers_are_left_out_and_limits_that_join_clients_are_refused():
    allowed_KL = np.ones((3, LAYERS), bool)
    allowed_KL[:, 0] = False
    mask_KL = choose("triangle", wanted=Requirements(allowed_KL=allowed_KL))
    assert mask_KL.sum(axis=0).tolist() == [0, 3, 3, 2, 2, 1, 1, 0, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="'allocated' keeps no coverage, cap or least number"):
        choose("triangle", wanted=Requirements(sharers=2))
