import jax
import numpy as np
import pytest
import scipy.optimize

from f3ocus_jax import selection
from f3ocus_jax.selection import exact, flow
from tests.selection import brute_force

TINY = [
    (1, 1, [1]),
    (1, 4, [2]),
    (2, 3, [3, 3]),
    (3, 4, [1, 2, 3]),
    (3, 5, [2, 2, 1]),
    (4, 4, [2, 1, 1, 2]),
]
tiny = pytest.mark.parametrize(
    ("clients", "layers", "budgets"),
    [pytest.param(*case, marks=pytest.mark.extended if case in TINY[-2:] else ()) for case in TINY],
)


def every_point(scores_KL, budgets):
    choices = brute_force.all_choices(scores_KL.shape[1], budgets)
    return np.array([brute_force.worth(mask_KL, scores_KL) for mask_KL in choices])


def minimised(points_NM):
    return points_NM * np.array([-1.0, 1.0])


def check_masks(front, scores_KL, budgets):
    masks_NKL = front.masks(np.arange(len(front.points_NM)))
    np.testing.assert_array_equal(
        masks_NKL.sum(axis=2), np.tile(budgets, (len(front.points_NM), 1))
    )
    expected = [brute_force.worth(mask_KL, scores_KL) for mask_KL in masks_NKL]
    np.testing.assert_allclose(minimised(front.points_NM), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@tiny
def test_true_front_agrees_with_trying_every_choice(clients, layers, budgets, correlation):
    scores_KL = brute_force.draw_scores(clients, layers, correlation=correlation, seed=clients)
    found = exact.true_front(scores_KL, np.array(budgets))
    expected = sorted(brute_force.front(every_point(scores_KL, budgets)))
    np.testing.assert_allclose(minimised(found.points_NM), expected, rtol=1e-9, atol=1e-12)
    assert found.complete
    check_masks(found, scores_KL, budgets)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
@tiny
def test_supported_front_is_best_for_every_trade_off(clients, layers, budgets, correlation):
    scores_KL = brute_force.draw_scores(clients, layers, correlation=correlation, seed=clients)
    found = exact.supported_front(scores_KL, np.array(budgets))
    every_PM = every_point(scores_KL, budgets)
    for price in [0.0, *np.geomspace(1e-3, 1e3, 200)]:
        weights_M = np.array([1.0, price])
        best = np.min(minimised(found.points_NM) @ weights_M)
        np.testing.assert_allclose(best, np.min(every_PM @ weights_M), rtol=1e-9, atol=1e-9)
    assert not found.complete
    check_masks(found, scores_KL, budgets)


def linear_programme(scores_KL, budgets, price):
    """Least −importance + price Σ n_l², with a unit arc of cost 2 j − 1 for a layer's j-th pick."""
    clients, layers = scores_KL.shape
    picks = clients * layers
    costs_V = np.concatenate(
        [-scores_KL.ravel(), np.tile(price * (2.0 * np.arange(clients) + 1), layers)]
    )
    budget_KV = np.kron(np.eye(clients), np.ones((1, layers)))
    count_LV = np.kron(np.ones((1, clients)), np.eye(layers))
    units_LV = np.kron(np.eye(layers), np.ones((1, clients)))
    matrix = np.block([[budget_KV, np.zeros((clients, picks))], [count_LV, -units_LV]])
    right = np.concatenate([budgets, np.zeros(layers)])
    return scipy.optimize.linprog(costs_V, A_eq=matrix, b_eq=right, bounds=(0, 1)).fun


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_supported_front_agrees_with_the_linear_programme(correlation):
    scores_KL = brute_force.draw_scores(20, 12, correlation=correlation).astype(np.float64)
    budgets = np.random.default_rng(0).integers(2, 6, 20)
    points_NM = exact.supported_front(scores_KL, budgets).points_NM
    total = budgets.sum()
    squares_N = points_NM[:, 1] * 12 + total**2 / 12
    for price in np.geomspace(1e-4, 1.0, 8):
        best = np.min(price * squares_N - points_NM[:, 0])
        np.testing.assert_allclose(best, linear_programme(scores_KL, budgets, price), rtol=1e-9)


def test_supported_front_comes_in_order_and_is_convex():
    scores_KL = brute_force.draw_scores(30, 10, correlation=0.8)
    points_NM = exact.supported_front(scores_KL, np.full(30, 3)).points_NM
    steps_NM = np.diff(points_NM, axis=0)
    assert np.all(steps_NM < 0)
    slopes_N = steps_NM[:, 0] / steps_NM[:, 1]
    assert np.all(np.diff(slopes_N) > -1e-9)


def test_moves_are_the_same_in_one_call_and_in_many():
    scores_KL = brute_force.draw_scores(30, 10, correlation=0.8)
    start_KL = exact.supported_front(scores_KL, np.full(30, 3)).masks(np.array([0]))[0]
    whole = flow.supported_moves(scores_KL, start_KL)
    parts = flow.supported_moves(scores_KL, start_KL, chunk=7)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(one, other)


def test_exact_fronts_survive_scores_that_all_tie():
    scores_KL, budgets = np.full((4, 6), 1 / 6), np.array([2, 2, 3, 1])
    for find in (exact.true_front, exact.supported_front):
        points_NM = find(scores_KL, budgets).points_NM
        np.testing.assert_allclose(points_NM[-1], [8 / 6, 2 / 9], rtol=1e-6)


def test_selector_says_whether_its_front_is_the_true_one():
    few, many = brute_force.draw_scores(3, 5), brute_force.draw_scores(60, 10, correlation=0.8)
    select = selection.make_selector("exact", population=16, generations=1)
    key, seeds = jax.random.key(0), np.zeros((16, 1, 1), bool)
    true = select(key, few, np.full(3, 2), seeds)
    supported = select(key, many, np.full(60, 3), seeds)
    assert true.complete
    assert not supported.complete
    points_NM = exact.supported_front(many, np.full(60, 3)).points_NM
    assert len(points_NM) > 16
    shown_PM = np.asarray(supported.front_objectives_PM)[np.asarray(supported.front_valid_P)]
    assert len(shown_PM) > 10
    np.testing.assert_allclose(shown_PM[-1], points_NM[0], rtol=1e-5)
    np.testing.assert_allclose(shown_PM[0], points_NM[-1], rtol=1e-5, atol=1e-5)
