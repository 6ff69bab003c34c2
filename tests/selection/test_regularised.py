"""Choices that agree across clients, against brute force over all choices."""

import functools
import itertools

import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import Requirements
from tests.selection import brute_force

POPULATION = 4


@functools.cache
def selector(price):
    """One for each price, so that tests with the same shape share what is compiled."""
    return selection.make_selector(
        "regularised", population=POPULATION, generations=1, disagreement_cost=price
    )


def choose(scores_KL, budgets, price, wanted=None):
    seeds_PKL = np.zeros((POPULATION, *scores_KL.shape), bool)
    budgets_K = np.array(budgets, np.int32)
    limits = wanted and selection.limits.make_limits(wanted, scores_KL, budgets_K)
    return selector(price)(jax.random.key(0), scores_KL, budgets_K, seeds_PKL, limits)


def objective(mask_KL, scores_KL, price):
    """The formula of the publication, as it is written there."""
    pairs = itertools.permutations(mask_KL.astype(int), 2)
    differing = sum(int(np.abs(one - other).sum()) for one, other in pairs)
    return float(scores_KL[mask_KL].astype(np.float64).sum()) - price / 2 * differing


@pytest.mark.parametrize("price", [0.0, 0.01, 0.05, 0.2, 10.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_the_best_of_all_choices(price, seed):
    scores_KL, budgets = brute_force.draw_scores(4, 5, correlation=0.3, seed=seed), [2, 1, 3, 2]
    found = objective(np.asarray(choose(scores_KL, budgets, price).mask_KL), scores_KL, price)
    every = brute_force.all_choices(5, budgets)
    best = max(objective(mask_KL, scores_KL, price) for mask_KL in every)
    assert found == pytest.approx(best, abs=1e-6)


def test_a_price_of_0_leaves_the_clients_their_own_choices_and_a_high_one_makes_them_alike():
    scores_KL = brute_force.draw_scores(6, 10, seed=3)
    free, alike = (choose(scores_KL, [3] * 6, price) for price in (0.0, 10.0))
    np.testing.assert_array_equal(free.mask_KL, free.own_mask_KL)
    assert (np.asarray(alike.mask_KL) == np.asarray(alike.mask_KL)[0]).all()
    common_L = np.argsort(-scores_KL.sum(axis=0))[:3]
    np.testing.assert_array_equal(np.flatnonzero(alike.mask_KL[0]), np.sort(common_L))


def test_no_client_gains_by_another_choice_of_its_own():
    scores_KL, price = brute_force.draw_scores(9, 12, correlation=0.2, seed=1), 0.02
    mask_KL = np.array(choose(scores_KL, [4] * 9, price).mask_KL)
    found = objective(mask_KL, scores_KL, price)
    for k, row in itertools.product(range(9), itertools.combinations(range(12), 4)):
        other_KL = mask_KL.copy()
        other_KL[k] = np.isin(np.arange(12), row)
        assert objective(other_KL, scores_KL, price) <= found + 1e-5


def test_absent_clients_forbidden_layers_and_costs_are_respected():
    scores_KL = brute_force.draw_scores(4, 5, seed=2)
    allowed_KL = np.ones((4, 5), bool)
    allowed_KL[0, 0] = False
    present_K = np.array([True, True, False, True])
    wanted = Requirements(allowed_KL=allowed_KL, present_K=present_K)
    mask_KL = np.asarray(choose(scores_KL, [2] * 4, 0.05, wanted).mask_KL)
    assert mask_KL.sum(axis=1).tolist() == [2, 2, 0, 2]
    assert not mask_KL[0, 0]
    possible = [
        each for each in brute_force.all_choices(5, [2, 2, 0, 2]) if not (each & ~allowed_KL).any()
    ]
    here = scores_KL[present_K]
    best = max(objective(each[present_K], here, 0.05) for each in possible)
    assert objective(mask_KL[present_K], here, 0.05) == pytest.approx(best, abs=1e-6)
    costs_L, capacity_K = np.array([3.0, 1, 1, 2, 2]), np.full(4, 3.0)
    wanted = Requirements(costs_L=costs_L, capacity_K=capacity_K)
    mask_KL = np.asarray(choose(scores_KL, [5] * 4, 0.05, wanted).mask_KL)
    assert (mask_KL @ costs_L <= capacity_K).all()
    assert mask_KL.any(axis=1).all()


@pytest.mark.parametrize("wanted", [{"sharers": 2}, {"most_L": np.full(5, 2)}])
def test_limits_that_join_clients_are_refused(wanted):
    with pytest.raises(ValueError, match="'regularised' keeps no coverage, cap or least number"):
        choose(brute_force.draw_scores(4, 5), [2] * 4, 0.1, Requirements(**wanted))
