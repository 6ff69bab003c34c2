import jax
import numpy as np
import pytest

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib, seeds
from tests.selection import brute_force


@pytest.mark.parametrize("layers", [1, 31, 32, 33, 70])
def test_unpack_undoes_pack(layers):
    mask_KL = np.random.default_rng(layers).random((3, layers)) < 0.5
    words_KW = jax.jit(choices_lib.pack)(mask_KL)
    assert words_KW.shape == (3, choices_lib.num_words(layers))
    np.testing.assert_array_equal(choices_lib.unpack(words_KW, layers), mask_KL)
    words_WK = choices_lib.pack(mask_KL.T, axis=0)
    np.testing.assert_array_equal(words_WK, np.asarray(words_KW).T)
    np.testing.assert_array_equal(choices_lib.unpack(words_WK, layers, axis=0), mask_KL.T)


def test_totals_are_those_of_the_masks():
    scores_KL = brute_force.draw_scores(4, 40)
    masks_PKL = np.random.default_rng(0).random((5, 4, 40)) < 0.3
    counted = choices_lib.from_words(choices_lib.pack(masks_PKL), scores_KL)
    np.testing.assert_array_equal(counted.histogram_PL, masks_PKL.sum(axis=1))
    expected = [brute_force.worth(mask_KL, scores_KL) for mask_KL in masks_PKL]
    np.testing.assert_allclose(counted.objectives(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("layers", "budgets"), [(1, [1]), (6, [6, 6]), (5, [1, 2, 3, 5]), (7, [3])]
)
def test_even_choice_is_as_even_as_the_budgets_allow(layers, budgets):
    scores_KL = brute_force.draw_scores(len(budgets), layers)
    problem = problem_lib.make_problem(scores_KL, np.array(budgets))
    mask_KL = np.asarray(seeds.even_choice(problem))
    np.testing.assert_array_equal(mask_KL.sum(axis=1), budgets)
    assert np.ptp(mask_KL.sum(axis=0)) <= 1


def test_population_keeps_budgets_own_choice_and_seeds():
    scores_KL = brute_force.draw_scores(5, 8)
    problem = problem_lib.make_problem(scores_KL, np.array([1, 2, 3, 8, 4]))
    seeds_PKL = np.zeros((6, 5, 8), bool)
    seeds_PKL[0] = seeds.even_choice(problem)
    seeds_PKL[1] = True
    population = seeds.population(jax.random.key(0), problem, 6, seeds_PKL)
    masks_PKL = np.asarray(choices_lib.unpack(population.words_PKW, 8))
    own_KL = problem_lib.own_choice(problem)
    np.testing.assert_array_equal(masks_PKL.sum(axis=2), np.tile([1, 2, 3, 8, 4], (6, 1)))
    np.testing.assert_array_equal(masks_PKL[0], own_KL)
    np.testing.assert_array_equal(masks_PKL[1], seeds_PKL[0])
    np.testing.assert_array_equal(masks_PKL[2], own_KL)
