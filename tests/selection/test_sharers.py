"""A layer is picked by nobody or by at least t clients: exhaustive and random problems."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import exact, limits as limits_lib, problem as problem_lib, sharing
from tests.helpers.marking import marked
from tests.selection import brute_force

POPULATION = 12
CLIENTS, LAYERS = 6, 8
FORBIDDEN_KL = np.random.default_rng(0).random((CLIENTS, LAYERS)) < 0.8
COSTS_L = np.array([1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 0.5])
CAPACITY_K = np.array([4.0, 5.0, 1.0, 3.0, 9.0, 20.0])

BESIDE = {
    "nothing": {},
    "absent clients and forbidden layers": {
        "allowed_KL": FORBIDDEN_KL,
        "present_K": np.arange(CLIENTS) != 2,
    },
    "bounds": {"least_L": np.eye(LAYERS, dtype=int)[1], "most_L": np.full(LAYERS, 4)},
    "costs": {"costs_L": COSTS_L, "capacity_K": CAPACITY_K},
}
"""Limits beside the sharers, by name."""

EVERY = [
    (variant, name) for variant, algorithms in selection.VARIANTS.items() for name in algorithms
]


SOONER = [
    (("memetic", "nsga2"), "nothing"),
    (("memetic", "sa"), "nothing"),
    (("memetic", "mopso"), "costs"),
    (("published", "nsga2"), "bounds"),
    (("published", "aco"), "nothing"),
]
"""Searches and limits of the quick test, the first, and of the extended ones."""


def is_shared(mask_KL, sharers):
    """Whether every layer has no client or enough of them."""
    histogram_L = mask_KL.sum(axis=0)
    return bool(((histogram_L == 0) | (histogram_L >= sharers)).all())


def keeps(mask_KL, wanted, budgets):
    """Whether a choice is within all limits, budgets included."""
    present_K = np.ones(len(mask_KL), bool) if wanted.present_K is None else wanted.present_K
    histogram_L = mask_KL.sum(axis=0)
    kept = is_shared(mask_KL, wanted.sharers) and not mask_KL[~present_K].any()
    if wanted.allowed_KL is not None:
        kept &= not (mask_KL & ~wanted.allowed_KL).any()
    if wanted.least_L is not None:
        kept &= bool((histogram_L >= wanted.least_L).all())
    if wanted.most_L is not None:
        kept &= bool((histogram_L <= wanted.most_L).all())
    if wanted.costs_L is None:
        return kept and bool((mask_KL.sum(axis=1) == np.where(present_K, budgets, 0)).all())
    kept &= bool((mask_KL @ wanted.costs_L <= wanted.capacity_K).all())
    return kept and bool(mask_KL[present_K].any(axis=1).all())


def all_masks(clients, layers):
    bits = itertools.product([False, True], repeat=clients * layers)
    return [np.array(row).reshape(clients, layers) for row in bits]


TINY_KL = brute_force.draw_scores(4, 4, correlation=0.6, seed=1)
TINY_MASKS = all_masks(4, 4)
TINY = {
    "equal budgets": (2, [2, 2, 2, 2], {}),
    "three sharers": (3, [2, 2, 2, 2], {}),
    "all must share": (4, [1, 1, 1, 1], {}),
    "different budgets": (2, [1, 2, 3, 2], {}),
    "an absent client": (2, [2, 2, 3, 1], {"present_K": np.array([True, True, False, True])}),
    "a layer that one client may train": (
        2,
        [2, 2, 2, 1],
        {"allowed_KL": np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0]], bool)},
    ),
    "bounds": (2, [2, 2, 2, 2], {"least_L": np.array([0, 0, 1, 0]), "most_L": np.full(4, 3)}),
    "costs": (
        2,
        [4, 4, 4, 4],
        {"costs_L": np.array([1.0, 2.0, 2.0, 3.0]), "capacity_K": np.array([3.0, 4.0, 2.0, 5.0])},
    ),
    "budgets that need not be spent": (
        3,
        [4, 4, 4, 4],
        {"costs_L": np.ones(4), "capacity_K": np.array([1.0, 2.0, 3.0, 4.0])},
    ),
}


@pytest.mark.parametrize("case", TINY)
def test_the_exact_front_agrees_with_trying_every_choice(case):
    sharers, budgets, beside = TINY[case]
    wanted = selection.Requirements(sharers=sharers, **beside)
    every = [mask_KL for mask_KL in TINY_MASKS if keeps(mask_KL, wanted, budgets)]
    points = np.array([brute_force.worth(mask_KL, TINY_KL) for mask_KL in every])
    limits = limits_lib.make_limits(wanted, TINY_KL, np.array(budgets))
    found = exact.find_front(TINY_KL, np.array(budgets), limits)
    assert found.complete
    expected = sorted(brute_force.front(points))
    np.testing.assert_allclose(found.points_NM * [-1, 1], expected, rtol=1e-9, atol=1e-12)
    for mask_KL in found.masks(np.arange(len(found.points_NM))):
        assert keeps(mask_KL, wanted, budgets)
    start_KL = np.asarray(limits.start_KL)
    assert keeps(start_KL, wanted, budgets)
    assert brute_force.worth(start_KL, TINY_KL)[0] == pytest.approx(points[:, 0].min())


@pytest.fixture(scope="module")
def selectors():
    return {
        (variant, name): selection.make_selector(
            name, population=POPULATION, generations=6, variant=variant
        )
        for variant, name in EVERY
    }


@pytest.mark.parametrize(
    ("variant", "name", "kind"),
    marked(
        [(*pair, kind) for pair in EVERY for kind in BESIDE],
        [(*pair, kind) for pair in EVERY for kind in BESIDE if (pair, kind) not in SOONER],
        extended=[(*pair, kind) for pair, kind in SOONER[1:]],
    ),
)
def test_searches_keep_the_limit_on_random_problems_and_compile_once(
    variant, name, kind, selectors
):
    """Four problems per search: other scores, budgets, numbers of sharers and last fronts."""
    select = selectors[variant, name]
    last_PKL, programs = np.zeros((POPULATION, CLIENTS, LAYERS), bool), None
    for seed, sharers in enumerate((2, 3, 2, 3)):
        scores_KL = brute_force.draw_scores(CLIENTS, LAYERS, correlation=seed / 4, seed=seed)
        budgets = np.random.default_rng(seed).integers(1, 3, CLIENTS)
        wanted = selection.Requirements(sharers=sharers, **BESIDE[kind])
        limits = limits_lib.make_limits(wanted, scores_KL, budgets)
        chosen = select(jax.random.key(seed), scores_KL, budgets, last_PKL, limits)
        masks_PKL = np.asarray(chosen.front_mask_PKL)[np.asarray(chosen.front_valid_P)]
        assert len(masks_PKL) >= 1
        for mask_KL in masks_PKL:
            assert keeps(mask_KL, wanted, budgets)
        last_PKL = np.asarray(chosen.front_mask_PKL)
        programs = programs or select._cache_size()
        assert select._cache_size() == programs


@pytest.mark.slow
def test_other_algorithms_keep_the_limit_as_well():
    select = selection.make_selector("SimpleGA", population=POPULATION, generations=6)
    scores_KL, budgets = brute_force.draw_scores(CLIENTS, LAYERS, correlation=0.5), np.full(6, 2)
    wanted = selection.Requirements(sharers=3)
    limits = limits_lib.make_limits(wanted, scores_KL, budgets)
    unused_PKL = np.zeros((POPULATION, CLIENTS, LAYERS), bool)
    chosen = select(jax.random.key(0), scores_KL, budgets, unused_PKL, limits)
    for mask_KL in np.asarray(chosen.front_mask_PKL)[np.asarray(chosen.front_valid_P)]:
        assert keeps(mask_KL, wanted, budgets)


@pytest.mark.slow
@pytest.mark.parametrize("name", selection.METAHEURISTICS)
def test_memetic_searches_come_close_to_the_exact_front(name):
    scores_KL = brute_force.draw_scores(CLIENTS, LAYERS, correlation=0.8, seed=3)
    budgets = np.full(CLIENTS, 3)
    limits = limits_lib.make_limits(selection.Requirements(sharers=2), scores_KL, budgets)
    select = selection.make_selector(name, population=40, generations=40)
    chosen = select(
        jax.random.key(0), scores_KL, budgets, np.zeros((40, CLIENTS, LAYERS), bool), limits
    )
    found_PM = np.asarray(chosen.front_objectives_PM)[np.asarray(chosen.front_valid_P)] * [-1, 1]
    exact_PM = exact.true_front(scores_KL, budgets, limits).points_NM * [-1, 1]
    assert len(exact_PM) > 4
    corner_M = exact_PM.max(axis=0)
    whole = brute_force.hypervolume(exact_PM, corner_M)
    assert brute_force.hypervolume(found_PM, corner_M) > 0.9 * whole


def repaired(mask_KL, scores_KL, sharers, **beside):
    """A repair by the scores, without a price for unevenness."""
    wanted = selection.Requirements(sharers=sharers, **beside)
    budgets = mask_KL.sum(axis=1)
    limits = limits_lib.make_limits(wanted, scores_KL, budgets)
    problem = problem_lib.make_problem(jnp.asarray(scores_KL), jnp.asarray(budgets), limits)
    return jax.jit(sharing.repair)(problem, mask_KL, problem.scores_KL, 0.0)


def test_a_repair_takes_the_cheaper_side():
    """Layer 2 has one of two clients: the first loses 0.1 by leaving, the others 0.3 by joining."""
    mask_KL = np.array([[0, 0, 1], [1, 0, 0], [1, 0, 0], [1, 0, 0]], bool)
    scores_KL = np.array([[0.4, 0.1, 0.5], [0.5, 0.3, 0.2], [0.5, 0.4, 0.1], [0.6, 0.3, 0.1]])
    found_KL, kept = repaired(mask_KL, scores_KL.astype(np.float32), 2)
    assert kept
    np.testing.assert_array_equal(found_KL, np.eye(3, dtype=bool)[[0, 0, 0, 0]])
    scores_KL[0, 0] = 0.0
    found_KL, kept = repaired(mask_KL, scores_KL.astype(np.float32), 2)
    assert kept
    np.testing.assert_array_equal(found_KL, np.eye(3, dtype=bool)[[2, 2, 0, 0]])


def test_a_repair_leaves_a_choice_within_the_limit_as_it_is():
    mask_KL = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1]], bool)
    found_KL, kept = repaired(mask_KL, brute_force.draw_scores(5, 4), 2)
    assert kept
    np.testing.assert_array_equal(found_KL, mask_KL)


def test_a_repair_says_that_it_is_stuck():
    """Two clients with one layer each, and another one each: nobody can join or leave."""
    own_KL = np.eye(2, dtype=bool)
    limits = problem_lib.Limits(own_KL, own_KL, None, None, jnp.int32(2))
    problem = problem_lib.make_problem(np.ones((2, 2)), np.ones(2, int), limits)
    found_KL, kept = sharing.repair(problem, own_KL, problem.scores_KL, 0.0)
    assert not kept
    np.testing.assert_array_equal(found_KL, own_KL)
    without = problem_lib.make_problem(np.ones((2, 2)), np.ones(2, int))
    with pytest.raises(ValueError, match="needs limits with a least number of sharers"):
        sharing.repair(without, own_KL, without.scores_KL, 0.0)


@pytest.mark.parametrize("beside", BESIDE)
def test_repairs_of_random_choices_keep_every_client_s_own_limits(beside):
    """Stuck repairs, too, keep rows; within the limit alone, most choices can be repaired."""
    draw, scores_KL = np.random.default_rng(1), brute_force.draw_scores(CLIENTS, LAYERS)
    wanted, budgets = selection.Requirements(sharers=2, **BESIDE[beside]), np.full(CLIENTS, 2)
    limits = limits_lib.make_limits(wanted, scores_KL, budgets)
    problem = problem_lib.make_problem(jnp.asarray(scores_KL), jnp.asarray(budgets), limits)
    keys_PKL = draw.random((50, CLIENTS, LAYERS)).astype(np.float32)
    one = jax.vmap(lambda client, index_L: problem_lib.take_first(problem, client, index_L))
    order_PKL = np.argsort(np.argsort(keys_PKL, axis=2), axis=2)
    masks_PKL = jax.vmap(lambda index_KL: one(jnp.arange(CLIENTS), index_KL))(order_PKL)
    repair = jax.jit(jax.vmap(sharing.repair, in_axes=(None, 0, 0, None)))
    found_PKL, kept_P = (np.asarray(leaf) for leaf in repair(problem, masks_PKL, keys_PKL, 0.0))
    assert kept_P.mean() > 0.5
    for mask_KL, kept in zip(found_PKL, kept_P, strict=True):
        assert bool(kept) == keeps(mask_KL, wanted, budgets)


@pytest.mark.parametrize(
    ("wanted", "budgets", "message"),
    [
        ({"sharers": 7}, [2] * 6, "at least 7 clients must share a layer, but only 6 are present"),
        (
            {"sharers": 3, "present_K": np.arange(6) < 2},
            [2] * 6,
            "at least 3 clients must share a layer, but only 2 are present",
        ),
        (
            {"sharers": 2, "allowed_KL": np.eye(6, 8, dtype=bool) | (np.arange(8) < 1)},
            [2] * 6,
            "Oslo may train 1 layers that 2 clients may share, but its budget is 2",
        ),
        (
            {"sharers": 3, "least_L": np.eye(8, dtype=int)[3], "most_L": np.full(8, 2)},
            [2] * 6,
            "layer 3 has a coverage of at least 3 and a cap of 2",
        ),
        ({"sharers": 3, "most_L": np.full(8, 2)}, [2] * 6, "Oslo may train 0 layers that 3"),
        ({"sharers": 2}, [8, 1, 1, 1, 1, 1], "no way to keep nobody or at least 2 for layer"),
    ],
)
def test_limits_that_clash_are_named(wanted, budgets, message):
    names = ["Oslo", "Bern", "Rome", "Lima", "Kyiv", "Pune"]
    with pytest.raises(selection.InfeasibleError, match=message):
        limits_lib.make_limits(
            selection.Requirements(**wanted),
            brute_force.draw_scores(6, 8),
            np.array(budgets),
            names,
        )


def test_one_client_alone_is_no_sharer():
    with pytest.raises(ValueError, match="sharers = 1, must be >= 2, or None for any"):
        selection.Requirements(sharers=1)


def test_the_clients_own_choices_are_kept_where_enough_of_them_agree():
    """Budgets of one layer, three clients each for layers 0 and 1: nothing is more important."""
    scores_KL = np.repeat(np.array([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1]], np.float32), 3, axis=0)
    wanted = selection.Requirements(sharers=3)
    limits = limits_lib.make_limits(wanted, scores_KL, np.ones(6, int))
    np.testing.assert_array_equal(limits.start_KL, np.eye(3, dtype=bool)[[0, 0, 0, 1, 1, 1]])


def test_the_own_choice_refuses_the_limit():
    select = selection.make_selector("own", population=4, generations=1)
    scores_KL, budgets = brute_force.draw_scores(4, 4), np.full(4, 2)
    limits = limits_lib.make_limits(selection.Requirements(sharers=2), scores_KL, budgets)
    with pytest.raises(ValueError, match="'own' lets every client choose by itself"):
        select(jax.random.key(0), scores_KL, budgets, np.zeros((4, 4, 4), bool), limits)


def test_exact_refuses_the_limit_on_a_large_problem():
    scores_KL, budgets = brute_force.draw_scores(60, 10, correlation=0.8), np.full(60, 3)
    limits = limits_lib.make_limits(selection.Requirements(sharers=2), scores_KL, budgets)
    with pytest.raises(ValueError, match="at most 512 clients × layers, and there are 600"):
        exact.find_front(scores_KL, budgets, limits)
