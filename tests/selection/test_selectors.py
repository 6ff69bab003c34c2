import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import objectives
from tests.helpers.marking import marked
from tests.selection import brute_force

POPULATION = 16
SHIPPED = ("SimpleGA", "PSO", "SimulatedAnnealing", "DifferentialEvolution", "CMA_ES")
"""Of evosax's own; the others go the same way."""

NAMES = ("own", "exact", "regularised", "allocated", *selection.METAHEURISTICS, *SHIPPED)
every_selector = pytest.mark.parametrize(
    "name",
    marked(NAMES, ("PSO", "SimulatedAnnealing", "DifferentialEvolution"), extended=("CMA_ES",)),
)
every_metaheuristic = pytest.mark.parametrize("name", selection.METAHEURISTICS)


@pytest.fixture(scope="module")
def selectors():
    """One of each, so that tests with the same shape share what is compiled."""
    return {
        name: selection.make_selector(name, population=POPULATION, generations=8) for name in NAMES
    }


def choose(select, scores_KL, budgets, *, seeds_PKL=None, seed=0):
    if seeds_PKL is None:
        seeds_PKL = np.zeros((POPULATION, *scores_KL.shape), bool)
    return select(jax.random.key(seed), scores_KL, np.array(budgets, np.int32), seeds_PKL)


def used_points(chosen):
    """(−importance, variance) of the front's rows in use."""
    points_PM = np.asarray(chosen.front_objectives_PM)[np.asarray(chosen.front_valid_P)]
    return np.asarray(objectives.as_reported(points_PM))


def check_contract(chosen, scores_KL, budgets):
    """What holds of every selector's answer to finite scores."""
    valid_P, masks_PKL = np.asarray(chosen.front_valid_P), np.asarray(chosen.front_mask_PKL)
    used = int(valid_P.sum())
    assert valid_P.shape == (POPULATION,)
    np.testing.assert_array_equal(valid_P, np.arange(POPULATION) < used)
    np.testing.assert_array_equal(masks_PKL[:used].sum(axis=2), np.tile(budgets, (used, 1)))
    assert not masks_PKL[used:].any()
    points_PM = used_points(chosen)
    expected = [brute_force.worth(mask_KL, scores_KL) for mask_KL in masks_PKL[:used]]
    np.testing.assert_allclose(points_PM, expected, rtol=1e-5, atol=1e-6)
    assert len(brute_force.front(points_PM)) == used
    assert np.all(np.diff(points_PM[:, 0]) < 0)
    np.testing.assert_array_equal(chosen.mask_KL, masks_PKL[int(chosen.pick)])
    ranks_KL = np.asarray(chosen.ranks_KL)
    places_KL = np.broadcast_to(np.arange(scores_KL.shape[1]), ranks_KL.shape)
    np.testing.assert_array_equal(np.sort(ranks_KL, axis=1), places_KL)
    np.testing.assert_array_equal(ranks_KL < np.array(budgets)[:, None], chosen.mask_KL)
    assert 0 <= chosen.hypervolume <= 1
    assert chosen.scores_finite


@pytest.mark.parametrize("budgets", [[3] * 6, [1, 10, 2, 9, 5, 1], [10] * 6])
@every_selector
def test_selectors_keep_the_contract(name, budgets, selectors):
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.5)
    check_contract(choose(selectors[name], scores_KL, budgets), scores_KL, budgets)


@every_selector
def test_selectors_keep_the_contract_when_all_scores_tie(name, selectors):
    scores_KL, budgets = np.full((6, 10), 0.1, np.float32), [2, 2, 3, 1, 2, 2]
    check_contract(choose(selectors[name], scores_KL, budgets), scores_KL, budgets)


@pytest.mark.parametrize(("layers", "budgets"), [(1, [1]), (33, [7] * 17)])
@pytest.mark.parametrize(
    "name", marked(["own", "exact", *selection.METAHEURISTICS], ("abc", "aco", "sa", "mopso"))
)
def test_selectors_keep_the_contract_for_one_client_and_for_many_layers(
    name, layers, budgets, selectors
):
    scores_KL = brute_force.draw_scores(len(budgets), layers, correlation=0.5)
    check_contract(choose(selectors[name], scores_KL, budgets), scores_KL, budgets)


@pytest.mark.parametrize(
    "name",
    marked(
        [*selection.METAHEURISTICS, *SHIPPED, "exact"],
        extended=("PSO", "SimulatedAnnealing", "DifferentialEvolution"),
    ),
)
def test_searches_are_never_beaten_by_the_clients_own_choice(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8)
    chosen = choose(selectors[name], scores_KL, [3] * 6)
    own_M = np.asarray(objectives.as_reported(chosen.own_objectives_M))
    assert np.any(np.all(used_points(chosen) <= own_M + 1e-6, axis=1))


@every_metaheuristic
def test_metaheuristics_come_close_to_the_exact_front(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8)
    exact_PM = used_points(choose(selectors["exact"], scores_KL, [3] * 6))
    found_PM = used_points(choose(selectors[name], scores_KL, [3] * 6))
    corner_M = exact_PM.max(axis=0)
    whole = brute_force.hypervolume(exact_PM, corner_M)
    assert brute_force.hypervolume(found_PM, corner_M) > 0.9 * whole


@pytest.mark.parametrize("name", ["exact", "nsga2", "own"])
@pytest.mark.parametrize("seed", [0, 1])
def test_hypervolume_is_the_part_of_the_box_from_own_choices_to_an_even_deal(name, seed, selectors):
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8, seed=seed)
    chosen = choose(selectors[name], scores_KL, [3] * 6)
    own_M = np.array(brute_force.worth(np.asarray(chosen.own_mask_KL), scores_KL))
    dealt_KL = np.zeros((6, 10), bool)
    for row_L, scores_L in zip(dealt_KL, scores_KL, strict=True):
        fewest_first = sorted(
            range(10), key=lambda layer: (dealt_KL[:, layer].sum(), -scores_L[layer])
        )
        row_L[fewest_first[:3]] = True
    even_M = np.array(brute_force.worth(dealt_KL, scores_KL))
    low_M, high_M = np.minimum(own_M, even_M), np.maximum(own_M, even_M)
    inside_PM = np.maximum(used_points(chosen), low_M)
    whole = np.prod(high_M - low_M)
    expected = brute_force.hypervolume(inside_PM, high_M) / whole
    assert chosen.hypervolume == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert (0.1 < expected < 1) == (name != "own")


@every_selector
def test_same_key_same_choice(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10)
    first, second = (choose(selectors[name], scores_KL, [2] * 6, seed=9) for _ in range(2))
    np.testing.assert_array_equal(first.front_mask_PKL, second.front_mask_PKL)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "exact"])
def test_a_new_round_compiles_nothing(name, selectors):
    scores_KL, select = brute_force.draw_scores(6, 10), selectors[name]
    chosen = choose(select, scores_KL, [2] * 6)
    compiled = select._cache_size()
    other_KL = brute_force.draw_scores(6, 10, seed=5)
    seeds_PKL = np.asarray(chosen.front_mask_PKL)
    choose(select, other_KL, [1, 2, 3, 4, 5, 10], seeds_PKL=seeds_PKL, seed=1)
    assert select._cache_size() == compiled


@every_metaheuristic
def test_the_last_front_is_not_lost(name, selectors):
    scores_KL, budgets = brute_force.draw_scores(6, 10, correlation=0.8), [3] * 6
    first = choose(selectors[name], scores_KL, budgets)
    seeds_PKL = np.asarray(first.front_mask_PKL)
    again = choose(selectors[name], scores_KL, budgets, seeds_PKL=seeds_PKL, seed=1)
    assert again.hypervolume >= 0.97 * first.hypervolume


@every_selector
def test_scores_that_are_not_numbers_are_flagged_and_picked_last(name, selectors):
    scores_KL = brute_force.draw_scores(6, 10)
    scores_KL[1, 2], scores_KL[3, 0] = np.nan, np.inf
    chosen = choose(selectors[name], scores_KL, [2] * 6)
    assert not chosen.scores_finite
    assert np.all(np.isfinite(chosen.front_objectives_PM))
    own_KL = np.asarray(chosen.own_mask_KL)
    assert not own_KL[1, 2]
    assert not own_KL[3, 0]
    np.testing.assert_array_equal(np.asarray(chosen.mask_KL).sum(axis=1), [2] * 6)


def test_own_choice_takes_the_highest_scores_and_the_lower_layer_of_equals(selectors):
    scores_KL = np.array([[0.1, 0.4, 0.4, 0.1], [0.25] * 4, [0.1, 0.2, 0.3, 0.4]], np.float32)
    chosen = choose(selectors["own"], scores_KL, [1, 2, 3])
    np.testing.assert_array_equal(
        chosen.mask_KL, np.array([[0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1]], bool)
    )


def test_the_pick_is_the_one_asked_for():
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8)
    for place, expected in [(0, 0), (1, 1)]:
        select = selection.make_selector(
            "exact", population=POPULATION, generations=1, pick="index", pick_value=place
        )
        assert choose(select, scores_KL, [3] * 6).pick == expected


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match=r"'nsga3': choose one of .*'nsga2'"):
        selection.make_selector("nsga3", population=4, generations=1)
    with pytest.raises(ValueError, match=r"'best': choose one of .*'knee'"):
        selection.make_selector("nsga2", population=4, generations=1, pick="best")
    with pytest.raises(ValueError, match=r"shape 'square': choose one of .*triangle"):
        selection.make_selector("allocated", population=4, generations=1, shape="square")


def test_the_refined_ranking_puts_picks_first_then_votes_then_scores(selectors):
    scores_KL = brute_force.draw_scores(6, 10, correlation=0.8)
    chosen = choose(selectors["nsga2"], scores_KL, [3] * 6)
    votes_KL = np.asarray(chosen.front_mask_PKL).sum(axis=0)
    for k in range(6):
        order = sorted(
            range(10),
            key=lambda layer: (
                not chosen.mask_KL[k, layer],
                -votes_KL[k, layer],
                -scores_KL[k, layer],
                layer,
            ),
        )
        np.testing.assert_array_equal(np.argsort(chosen.ranks_KL[k]), order)
