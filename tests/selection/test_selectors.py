import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import objectives
from tests.selection import brute_force

POPULATION = 16
SEARCHES = tuple(name for name in selection.SELECTORS if name not in ("lntk", "random", "last"))


@pytest.fixture(scope="module")
def selectors():
    return {
        name: selection.create(name, population=POPULATION, generations=10)
        for name in selection.SELECTORS
    }


def choose(select, scores_KL, budgets, *, seeds_PKL=None, seed=0):
    if seeds_PKL is None:
        seeds_PKL = np.zeros((POPULATION, *scores_KL.shape), bool)
    return select(jax.random.key(seed), scores_KL, np.array(budgets, np.int32), seeds_PKL)


every_selector = pytest.mark.parametrize("name", selection.SELECTORS)
every_search = pytest.mark.parametrize("name", SEARCHES)


def check_contract(chosen, scores_KL, budgets):
    """What holds of every selector's answer to finite scores."""
    valid_P = np.asarray(chosen.front_valid_P)
    masks_PKL = np.asarray(chosen.front_mask_PKL)
    points_PM = np.asarray(chosen.front_objectives_PM)
    assert len(valid_P) == POPULATION
    assert valid_P[0]
    assert not np.any(np.diff(valid_P.astype(int)) > 0)
    np.testing.assert_array_equal(
        masks_PKL[valid_P].sum(axis=2), np.tile(budgets, (valid_P.sum(), 1))
    )
    assert not masks_PKL[~valid_P].any()
    for mask_KL, point_M in zip(masks_PKL[valid_P], points_PM[valid_P], strict=True):
        lost, variance = brute_force.worth(mask_KL, scores_KL)
        np.testing.assert_allclose(point_M, [-lost, variance], rtol=1e-5, atol=1e-6)
    minimised_PM = np.asarray(objectives.as_reported(points_PM[valid_P]))
    assert len(brute_force.front(minimised_PM)) == valid_P.sum()
    assert np.all(np.diff(points_PM[valid_P, 0]) > 0)
    np.testing.assert_array_equal(chosen.mask_KL, masks_PKL[int(chosen.pick)])
    ranks_KL, layers = np.asarray(chosen.ranks_KL), scores_KL.shape[1]
    np.testing.assert_array_equal(
        np.sort(ranks_KL, axis=1), np.tile(range(layers), (len(budgets), 1))
    )
    np.testing.assert_array_equal(ranks_KL < np.array(budgets)[:, None], chosen.mask_KL)
    assert 0 <= chosen.hypervolume <= 1


@pytest.mark.parametrize(
    ("layers", "budgets"),
    [(1, [1]), (6, [6, 6]), (33, [1, 33, 7, 4]), (8, [2] * 20)],
)
@every_selector
def test_selectors_keep_the_contract(name, layers, budgets, selectors):
    scores_KL = brute_force.draw_scores(len(budgets), layers, correlation=0.5)
    chosen = choose(selectors[name], scores_KL, budgets)
    check_contract(chosen, scores_KL, budgets)
    assert chosen.scores_finite


@every_selector
def test_selectors_keep_the_contract_when_all_scores_tie(name, selectors):
    scores_KL = np.full((6, 10), 0.1, np.float32)
    chosen = choose(selectors[name], scores_KL, [2, 2, 3, 1, 2, 2])
    check_contract(chosen, scores_KL, [2, 2, 3, 1, 2, 2])


@every_search
def test_searches_are_never_beaten_by_the_clients_own_choice(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8)
    chosen = choose(selectors[name], scores_KL, [3] * 6)
    points_PM = np.asarray(chosen.front_objectives_PM)[np.asarray(chosen.front_valid_P)]
    own_M = np.asarray(chosen.own_objectives_M)
    assert np.any((points_PM[:, 0] >= own_M[0]) & (points_PM[:, 1] <= own_M[1]))


@every_search
def test_searches_find_almost_the_whole_true_front_of_a_tiny_problem(name, selectors):
    scores_KL, budgets = brute_force.draw_scores(3, 5, correlation=0.5, seed=4), [2, 2, 1]
    every_PM = np.array(
        [brute_force.worth(mask, scores_KL) for mask in brute_force.all_choices(5, budgets)]
    )
    chosen = choose(selectors[name], scores_KL, budgets)
    found_PM = np.asarray(chosen.front_objectives_PM, np.float64)[np.asarray(chosen.front_valid_P)]
    found_PM = found_PM * np.array([-1.0, 1.0])
    reference_M = every_PM.max(axis=0)
    share = brute_force.hypervolume(found_PM, reference_M) / brute_force.hypervolume(
        every_PM, reference_M
    )
    assert share > 0.97


@every_selector
def test_same_key_same_choice(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10)
    first, second = (choose(selectors[name], scores_KL, [2] * 6, seed=9) for _ in range(2))
    np.testing.assert_array_equal(first.front_mask_PKL, second.front_mask_PKL)


@every_selector
def test_a_new_round_compiles_nothing(name):
    select = selection.create(name, population=POPULATION, generations=2)
    chosen = choose(select, brute_force.draw_scores(4, 6), [2, 2, 3, 1])
    for seed, budgets in enumerate([[1, 1, 1, 1], [6, 5, 4, 3]]):
        scores_KL = brute_force.draw_scores(4, 6, seed=seed)
        choose(select, scores_KL, budgets, seeds_PKL=np.asarray(chosen.front_mask_PKL), seed=seed)
    assert select._cache_size() == 1


@every_search
def test_seeds_are_never_lost_to_worse_points(name, selectors):
    scores_KL, budgets = brute_force.draw_scores(6, 10, correlation=0.8), [3] * 6
    first = choose(selectors[name], scores_KL, budgets)
    again = choose(
        selectors[name], scores_KL, budgets, seeds_PKL=np.asarray(first.front_mask_PKL), seed=1
    )
    assert again.hypervolume >= 0.97 * first.hypervolume


@every_selector
def test_scores_that_are_not_numbers_are_flagged_and_picked_last(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10)
    scores_KL[1, 2], scores_KL[3, 0] = np.nan, np.inf
    chosen = choose(selectors[name], scores_KL, [2] * 6)
    assert not chosen.scores_finite
    assert not np.isnan(np.asarray(chosen.front_objectives_PM)).any()
    own_KL = np.asarray(chosen.own_mask_KL)
    assert not own_KL[1, 2]
    assert not own_KL[3, 0]
    np.testing.assert_array_equal(np.asarray(chosen.mask_KL).sum(axis=1), [2] * 6)


def test_lntk_takes_the_highest_scores_and_the_lower_layer_of_equals(selectors):
    scores_KL = np.array([[0.1, 0.4, 0.4, 0.1], [0.25] * 4, [0.1, 0.2, 0.3, 0.4]], np.float32)
    chosen = choose(selectors["lntk"], scores_KL, [1, 2, 3])
    np.testing.assert_array_equal(
        chosen.mask_KL, np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1]], bool)
    )


def test_last_takes_the_layers_nearest_the_output(selectors):
    chosen = choose(selectors["last"], brute_force.draw_scores(2, 4), [1, 3])
    np.testing.assert_array_equal(chosen.mask_KL, np.array([[0, 0, 0, 1], [0, 1, 1, 1]], bool))


def test_random_takes_every_layer_equally_often(selectors):
    scores_KL, counts_KL = brute_force.draw_scores(40, 5), np.zeros((40, 5))
    for seed in range(30):
        counts_KL += choose(selectors["random"], scores_KL, [2] * 40, seed=seed).mask_KL
    np.testing.assert_allclose(counts_KL.sum(axis=0) / 1200, 0.4, atol=0.06)


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match=r"'nsga3': choose one of .*'nsga2'"):
        selection.create("nsga3", population=4, generations=1)
    with pytest.raises(ValueError, match=r"'best': choose one of .*'knee'"):
        selection.create("nsga2", population=4, generations=1, pick="best")
