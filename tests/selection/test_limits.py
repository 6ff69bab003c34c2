import itertools

import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import exact, limits as limits_lib, local_search
from tests.helpers.marking import marked
from tests.selection import brute_force

POPULATION = 16
SCORES_KL = brute_force.draw_scores(6, 8, correlation=0.8)
BUDGETS = np.full(6, 2)
ALLOWED_KL = np.random.default_rng(0).random((6, 8)) < 0.7
PRESENT_K = np.array([True, True, False, True, True, True])
COSTS_L = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 0.5])
CAPACITY_K = np.array([4.0, 5.0, 1.0, 3.0, 9.0, 20.0])

WANTED = {
    "mask": selection.Requirements(allowed_KL=ALLOWED_KL),
    "absent": selection.Requirements(present_K=PRESENT_K),
    "bounds": selection.Requirements(least_L=np.ones(8, int), most_L=np.full(8, 2)),
    "mask, absent and bounds": selection.Requirements(
        allowed_KL=ALLOWED_KL, present_K=PRESENT_K, most_L=np.full(8, 3)
    ),
    "costs": selection.Requirements(costs_L=COSTS_L, capacity_K=CAPACITY_K),
    "costs, mask, absent and bounds": selection.Requirements(
        costs_L=COSTS_L,
        capacity_K=CAPACITY_K,
        allowed_KL=ALLOWED_KL,
        present_K=PRESENT_K,
        least_L=np.array([1, 0, 0, 1, 0, 0, 0, 1]),
        most_L=np.full(8, 4),
    ),
}

COMBINED = {"mask, absent and bounds", "costs, mask, absent and bounds"}
FURTHER = {
    ("exact", "costs"),
    *itertools.product(["SimpleGA"], COMBINED),
    *itertools.product(["nsga2"], ["mask", "absent", "costs"]),
}


@pytest.fixture(scope="module")
def selectors():
    names = [*selection.METAHEURISTICS, "exact", "SimpleGA"]
    return {
        name: selection.make_selector(name, population=POPULATION, generations=8) for name in names
    }


def keeps(mask_KL, wanted):
    """Whether a choice keeps every limit that is wanted."""
    present_K = np.ones(6, bool) if wanted.present_K is None else wanted.present_K
    histogram_L = mask_KL.sum(axis=0)
    kept = not mask_KL[~present_K].any()
    if wanted.allowed_KL is not None:
        kept &= not (mask_KL & ~wanted.allowed_KL).any()
    if wanted.least_L is not None:
        kept &= bool((histogram_L >= wanted.least_L).all())
    if wanted.most_L is not None:
        kept &= bool((histogram_L <= wanted.most_L).all())
    if wanted.costs_L is None:
        return kept and bool((mask_KL.sum(axis=1) == np.where(present_K, BUDGETS, 0)).all())
    spent_K = (mask_KL * wanted.costs_L).sum(axis=1)
    return kept and bool((spent_K <= CAPACITY_K).all()) and mask_KL[present_K].any(axis=1).all()


def choose(select, limits, *, seeds_PKL=None, seed=0):
    if seeds_PKL is None:
        seeds_PKL = np.zeros((POPULATION, 6, 8), bool)
    return select(jax.random.key(seed), SCORES_KL, BUDGETS, seeds_PKL, limits)


@pytest.mark.parametrize(
    ("name", "kind"),
    marked(
        itertools.product(["nsga2", "mopso", "exact", "SimpleGA"], WANTED),
        list(itertools.product(["mopso", "SimpleGA"], WANTED.keys() - COMBINED)),
        extended=FURTHER,
    ),
)
def test_every_point_of_the_front_keeps_the_limits(name, kind, selectors):
    limits = limits_lib.make_limits(WANTED[kind], SCORES_KL, BUDGETS)
    chosen = choose(selectors[name], limits)
    masks_PKL = np.asarray(chosen.front_mask_PKL)[np.asarray(chosen.front_valid_P)]
    assert len(masks_PKL) >= 1
    for mask_KL in masks_PKL:
        assert keeps(mask_KL, WANTED[kind])


@pytest.mark.parametrize("name", ["abc", "aco", "sa"])
def test_the_other_metaheuristics_keep_the_limits_as_well(name, selectors):
    wanted = WANTED["costs, mask, absent and bounds"]
    chosen = choose(selectors[name], limits_lib.make_limits(wanted, SCORES_KL, BUDGETS))
    for mask_KL in np.asarray(chosen.front_mask_PKL)[np.asarray(chosen.front_valid_P)]:
        assert keeps(mask_KL, wanted)


def test_other_limits_of_the_same_kinds_compile_nothing(selectors):
    select, wanted = selectors["nsga2"], WANTED["bounds"]
    first = choose(select, limits_lib.make_limits(wanted, SCORES_KL, BUDGETS))
    compiled = select._cache_size()
    other = selection.Requirements(least_L=np.zeros(8, int), most_L=np.full(8, 3))
    limits = limits_lib.make_limits(other, SCORES_KL, BUDGETS)
    choose(select, limits, seeds_PKL=np.asarray(first.front_mask_PKL), seed=1)
    assert select._cache_size() == compiled


def feasible_points(wanted):
    masks = brute_force.all_choices(5, [2, 2, 2])
    return [brute_force.worth(mask, TINY_KL) for mask in masks if keeps_tiny(mask, wanted)]


TINY_KL = brute_force.draw_scores(3, 5, correlation=0.8, seed=2)


def keeps_tiny(mask_KL, wanted):
    histogram_L = mask_KL.sum(axis=0)
    kept = not (mask_KL & ~wanted.allowed_KL).any()
    return kept and np.all((histogram_L >= wanted.least_L) & (histogram_L <= wanted.most_L))


TINY_WANTED = selection.Requirements(
    allowed_KL=np.array([[1, 1, 1, 1, 0], [1, 1, 1, 1, 1], [0, 1, 1, 1, 1]], bool),
    least_L=np.array([0, 1, 0, 0, 1]),
    most_L=np.array([1, 2, 3, 3, 1]),
)


def test_exact_fronts_within_limits_agree_with_trying_every_choice():
    every_PM = np.array(feasible_points(TINY_WANTED))
    limits = limits_lib.make_limits(TINY_WANTED, TINY_KL, np.full(3, 2))
    true_NM = exact.true_front(TINY_KL, np.full(3, 2), limits).points_NM * [-1, 1]
    np.testing.assert_allclose(true_NM, sorted(brute_force.front(every_PM)), rtol=1e-9)
    supported_NM = exact.supported_front(TINY_KL, np.full(3, 2), limits).points_NM * [-1, 1]
    for price in np.geomspace(1e-3, 1e2, 100):
        weights_M = np.array([1.0, price])
        np.testing.assert_allclose(
            np.min(supported_NM @ weights_M), np.min(every_PM @ weights_M), rtol=1e-9
        )


def test_start_is_the_most_important_choice_within_limits():
    limits = limits_lib.make_limits(TINY_WANTED, TINY_KL, np.full(3, 2))
    lost, _ = brute_force.worth(np.asarray(limits.start_KL), TINY_KL)
    assert lost == pytest.approx(min(point[0] for point in feasible_points(TINY_WANTED)))


def test_layers_of_no_importance_have_a_choice_within_limits():
    nothing_KL = np.zeros_like(TINY_KL)
    limits = limits_lib.make_limits(TINY_WANTED, nothing_KL, np.full(3, 2))
    start_KL = np.asarray(limits.start_KL)
    assert start_KL.sum(axis=1).tolist() == [2, 2, 2]
    assert keeps_tiny(start_KL, TINY_WANTED)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"allowed_KL": np.eye(6, 8, dtype=bool)}, "Oslo may train 1 layers, but its budget is 2"),
        (
            {"least_L": np.full(8, 3), "most_L": np.full(8, 2)},
            "layer 0 has a coverage of at least 3",
        ),
        (
            {"least_L": np.eye(8, dtype=int)[3] * 7},
            "layer 3 must be trained by at least 7 .* only 6",
        ),
        ({"least_L": np.full(8, 2)}, "no way to keep .*at least 2 for layer"),
        ({"most_L": np.full(8, 1)}, "no way to keep .*at most 1 for layer"),
        ({"costs_L": np.full(8, 3.0), "capacity_K": np.full(6, 2.0)}, "cheapest layer .* costs 3"),
    ],
)
def test_limits_that_clash_are_named(wanted, message):
    names = ["Oslo", "Bern", "Rome", "Lima", "Kyiv", "Pune"]
    with pytest.raises(selection.InfeasibleError, match=message):
        limits_lib.make_limits(selection.Requirements(**wanted), SCORES_KL, BUDGETS, names)


def test_costs_need_capacities_and_must_be_positive():
    with pytest.raises(ValueError, match="belong together"):
        selection.Requirements(costs_L=COSTS_L)
    with pytest.raises(ValueError, match="must be > 0"):
        selection.Requirements(costs_L=-COSTS_L, capacity_K=CAPACITY_K)


@pytest.mark.parametrize("seed", marked(range(4), extended=(1, 2, 3)))
@pytest.mark.parametrize("bounded", [False, True])
def test_true_front_under_costs_agrees_with_trying_every_choice(seed, bounded):
    scores_KL = brute_force.draw_scores(3, 4, correlation=0.5, seed=seed)
    costs_L, capacity_K = np.array([1.0, 2.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])
    wanted = selection.Requirements(
        allowed_KL=np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 1, 1, 1]], bool),
        most_L=np.array([3, 1, 3, 1]) if bounded else None,
        costs_L=costs_L,
        capacity_K=capacity_K,
    )
    points = []
    for bits in itertools.product([False, True], repeat=12):
        mask_KL = np.array(bits).reshape(3, 4)
        kept = np.all(mask_KL @ costs_L <= capacity_K) and mask_KL.any(axis=1).all()
        kept &= not (mask_KL & ~wanted.allowed_KL).any()
        if kept and (not bounded or np.all(mask_KL.sum(axis=0) <= wanted.most_L)):
            points.append(brute_force.worth(mask_KL, scores_KL))
    limits = limits_lib.make_limits(wanted, scores_KL, np.full(3, 4))
    found = exact.find_front(scores_KL, np.full(3, 4), limits)
    assert found.complete
    expected = sorted(brute_force.front(np.array(points)))
    np.testing.assert_allclose(found.points_NM * [-1, 1], expected, rtol=1e-9, atol=1e-12)


def test_exact_refuses_costs_of_a_large_problem():
    scores_KL = brute_force.draw_scores(20, 8)
    wanted = selection.Requirements(costs_L=COSTS_L, capacity_K=np.full(20, 4.0))
    limits = limits_lib.make_limits(wanted, scores_KL, np.full(20, 8))
    with pytest.raises(ValueError, match="at most 48 clients × layers, and there are 160"):
        exact.find_front(scores_KL, np.full(20, 8), limits)


def test_climbing_within_costs_keeps_count_of_picks_added_and_swapped():
    limits = limits_lib.make_limits(WANTED["costs"], SCORES_KL, BUDGETS)
    start_KL = np.zeros((6, 8), bool)
    start_KL[:, 7] = True
    counts_LP = np.tile(start_KL.sum(axis=0)[:, None], (1, 2))
    importance = -brute_force.worth(start_KL, SCORES_KL)[0]
    block = local_search.Block(
        np.tile(start_KL[..., None], (1, 1, 2)),
        SCORES_KL,
        counts_LP,
        np.full(2, importance, np.float32),
        limits,
    )
    climbed = local_search.climb(block, np.array([0.0, 0.05], np.float32))
    for p in range(2):
        mask_KL = np.asarray(climbed.rows_JLP)[..., p]
        np.testing.assert_array_equal(climbed.histogram_LP[:, p], mask_KL.sum(axis=0))
        np.testing.assert_allclose(
            climbed.importance_P[p], -brute_force.worth(mask_KL, SCORES_KL)[0], rtol=1e-5
        )
    assert np.asarray(climbed.rows_JLP).sum() > 12


def test_own_choice_keeps_the_clients_own_limits():
    select = selection.make_selector("own", population=POPULATION, generations=1)
    for kind in ("mask", "absent", "costs"):
        chosen = choose(select, limits_lib.make_limits(WANTED[kind], SCORES_KL, BUDGETS))
        assert keeps(np.asarray(chosen.mask_KL), WANTED[kind])


def test_forbidden_layers_rank_last(selectors):
    chosen = choose(selectors["nsga2"], limits_lib.make_limits(WANTED["mask"], SCORES_KL, BUDGETS))
    for ranks_L, allowed_L in zip(np.asarray(chosen.ranks_KL), ALLOWED_KL, strict=True):
        assert max(ranks_L[allowed_L]) < min(ranks_L[~allowed_L], default=8)
