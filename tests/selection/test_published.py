"""What holds of all five published metaheuristics; their own rules are in tests of their own."""

import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import (
    choices as choices_lib,
    exact,
    limits as limits_lib,
    pareto,
    problem as problem_lib,
)
from f3ocus_jax.selection.published import feasible
from tests.helpers.marking import marked
from tests.selection import brute_force

POPULATION = 12
SCORES_KL = brute_force.draw_scores(5, 7, correlation=0.5)
BUDGETS = np.array([1, 2, 3, 2, 7])
NO_FRONT_PKL = np.zeros((POPULATION, 5, 7), bool)

LIMITED = {
    "bounds": selection.Requirements(least_L=np.ones(7, int), most_L=np.full(7, 4)),
    "costs and a forbidden layer": selection.Requirements(
        allowed_KL=np.arange(7)[None] != np.arange(5)[:, None],
        costs_L=np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 0.5]),
        capacity_K=np.array([1.0, 3.0, 4.0, 6.0, 20.0]),
    ),
}
every_name = pytest.mark.parametrize(
    "name", marked(selection.METAHEURISTICS, extended=("abc", "aco", "mopso"))
)


@pytest.fixture(scope="module")
def selectors():
    return {
        name: selection.make_selector(
            name, population=POPULATION, generations=6, variant="published"
        )
        for name in selection.METAHEURISTICS
    }


@every_name
def test_choices_keep_budgets_and_depend_on_the_key_alone(name, selectors):
    """The second call starts from another front, which the published algorithms do not use."""
    first, second, other = (
        selectors[name](jax.random.key(seed), SCORES_KL, BUDGETS, front_PKL)
        for seed, front_PKL in ((0, NO_FRONT_PKL), (0, ~NO_FRONT_PKL), (1, NO_FRONT_PKL))
    )
    used = int(first.front_valid_P.sum())
    masks_PKL = np.asarray(first.front_mask_PKL)[:used]
    np.testing.assert_array_equal(masks_PKL.sum(axis=2), np.tile(BUDGETS, (used, 1)))
    np.testing.assert_array_equal(first.front_mask_PKL, second.front_mask_PKL)
    assert np.any(np.asarray(first.front_mask_PKL) != np.asarray(other.front_mask_PKL))
    assert selectors[name]._cache_size() == 1


@pytest.mark.extended
@pytest.mark.parametrize("kind", LIMITED)
@pytest.mark.parametrize("name", selection.METAHEURISTICS)
def test_choices_keep_limits(name, kind, selectors):
    wanted = LIMITED[kind]
    budgets = np.full(5, 3)
    limits = limits_lib.make_limits(wanted, SCORES_KL, budgets)
    chosen = selectors[name](jax.random.key(0), SCORES_KL, budgets, NO_FRONT_PKL, limits)
    masks_PKL = np.asarray(chosen.front_mask_PKL)[np.asarray(chosen.front_valid_P)]
    assert len(masks_PKL) >= 1
    for mask_KL in masks_PKL:
        assert mask_KL.any(axis=1).all()
        if wanted.costs_L is None:
            assert (mask_KL.sum(axis=1) == 3).all()
            assert (mask_KL.sum(axis=0) >= 1).all()
            assert (mask_KL.sum(axis=0) <= 4).all()
        else:
            assert (mask_KL @ wanted.costs_L <= wanted.capacity_K).all()
            assert not (mask_KL & ~wanted.allowed_KL).any()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("name", "rivals"),
    [(name, 40 if name == "abc" else 40 * 121) for name in selection.METAHEURISTICS],
)
def test_searches_improve_on_random_choices(name, rivals):
    """As many as were evaluated; the bee colony is slow, and improves on its first generation.

    Hypervolume in the box of the true front, against a random population of the same number."""
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8)
    problem = problem_lib.make_problem(scores_KL, np.full(6, 3))
    seeds_PKL = np.zeros((40, 6, 10), bool)
    select = selection.make_selector(name, population=40, generations=120, variant="published")
    chosen = select(jax.random.key(0), scores_KL, np.full(6, 3), seeds_PKL)
    draw = jax.jit(feasible.random_population, static_argnums=2)
    drawn_PM = draw(jax.random.key(1), problem, rivals, seeds_PKL).objectives()
    corner_M = (exact.true_front(scores_KL, np.full(6, 3)).points_NM * [-1, 1]).max(axis=0)
    found_PM = np.asarray(chosen.front_objectives_PM)[np.asarray(chosen.front_valid_P)] * [-1, 1]
    random_PM = np.asarray(drawn_PM)[np.asarray(pareto.front(drawn_PM))]
    gained = brute_force.hypervolume(found_PM, corner_M)
    assert gained > 1.1 * brute_force.hypervolume(random_PM, corner_M)


def test_only_the_five_have_a_published_variant():
    with pytest.raises(ValueError, match="'exact' has no variant 'published'"):
        selection.make_selector("exact", population=4, generations=1, variant="published")
    with pytest.raises(ValueError, match="variant 'plain': choose one of"):
        selection.make_selector("nsga2", population=4, generations=1, variant="plain")


def test_rows_that_break_bounds_are_those_of_the_most_important_choice():
    wanted = selection.Requirements(most_L=np.full(7, 2))
    budgets = np.full(5, 2)
    limits = limits_lib.make_limits(wanted, SCORES_KL, budgets)
    crowded_PKL = np.tile(np.arange(7) < 2, (1, 5, 1))
    repaired_KL = np.asarray(feasible.within_bounds(limits, crowded_PKL))[0]
    start_KL = np.asarray(limits.start_KL)
    counts_L = start_KL.sum(axis=0)
    for old_L, found_L in zip(start_KL, repaired_KL, strict=True):
        tried_L = counts_L - old_L + (np.arange(7) < 2)
        expected_L = np.arange(7) < 2 if (tried_L <= 2).all() else old_L
        np.testing.assert_array_equal(found_L, expected_L)
        counts_L = counts_L - old_L + expected_L
    assert (repaired_KL.sum(axis=0) <= 2).all()


def test_bits_are_repaired_by_dropping_or_adding_random_picks():
    problem = problem_lib.make_problem(SCORES_KL[:2], np.array([2, 3]))
    bits_PKL = np.tile(np.array([[1, 1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1]], bool), (200, 1, 1))
    choices = feasible.repair_bits(jax.random.key(0), problem, bits_PKL)
    masks_PKL = np.asarray(choices_lib.unpack(choices.words_PKW, 7))
    assert (masks_PKL.sum(axis=2) == [2, 3]).all()
    assert not masks_PKL[:, 0, 4:].any()
    assert masks_PKL[:, 1, 6].all()
    counts_KL = masks_PKL.sum(axis=0)
    assert counts_KL[0, :4].min() > 70
    assert counts_KL[1, :6].min() > 40
