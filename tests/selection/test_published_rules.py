"""The rules that tell the published metaheuristics from each other, one after the other."""

import dataclasses
import functools
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.selection import (
    choices as choices_lib,
    external_archive,
    problem as problem_lib,
    swaps,
)
from f3ocus_jax.selection.published import PUBLISHED, feasible, mopso, nsga2
from tests.selection import brute_force

SIZE, SCORES_KL = 10, brute_force.draw_scores(4, 6, correlation=0.5)
PROBLEM = problem_lib.make_problem(SCORES_KL, np.full(4, 2))
UNUSED_PKL = np.zeros((SIZE, 4, 6), bool)


def started(name, **changes):
    """An algorithm, its parameters and its state after the first generation."""
    search, params, state = initialised(name)
    return search, dataclasses.replace(params, **changes), state


@functools.cache
def initialised(name):
    """What tests of one algorithm share, so that it compiles once."""
    search = PUBLISHED[name](SIZE, 4, 6)
    params = search.params_for(PROBLEM, 20)
    first = feasible.random_population(jax.random.key(0), PROBLEM, SIZE, UNUSED_PKL)
    state = search.init(jax.random.key(1), first, first.objectives(), params)
    return search, params, state


def test_crossover_exchanges_the_ends_behind_one_point():
    zeros_NV = jnp.zeros((300, 8), bool)
    children_PV = np.asarray(nsga2._cross(jax.random.key(0), zeros_NV, ~zeros_NV, 0.5))
    first_NV, second_NV = np.split(children_PV, 2)
    np.testing.assert_array_equal(first_NV, ~second_NV)
    lengths = Counter(first_NV.sum(axis=1).tolist())
    assert all((row_V[:-1] <= row_V[1:]).all() for row_V in first_NV)
    assert set(lengths) == set(range(8))
    assert 0.4 < lengths[0] / 300 < 0.6


def test_tournaments_go_by_rank_and_then_by_crowding():
    search, _, state = started("nsga2")
    ranks_P, crowding_P = jnp.array([0, 0] + [1] * 8), jnp.array([1.0, 2.0] + [3.0] * 8)
    state = dataclasses.replace(state, ranks_P=ranks_P, crowding_P=crowding_P)
    keys = jax.random.split(jax.random.key(3), 400)
    counts = np.bincount(
        np.asarray(jax.vmap(lambda key: search._tournaments(key, state))(keys)).ravel(),
        minlength=SIZE,
    )
    shares_P = counts / counts.sum()
    np.testing.assert_allclose(shares_P[:2], [0.17, 0.19], atol=0.02)
    np.testing.assert_allclose(shares_P[2:], 0.08, atol=0.02)


def test_survivors_are_the_best_fronts_and_of_the_last_one_the_least_crowded():
    search, _, state = started("nsga2")
    points_PM = np.array([[p, 9.0 - p] for p in range(8)] + [[0.1, 9.0], [1.1, 8.0]], np.float32)
    points_PM = np.concatenate([points_PM, points_PM + 20])
    choices = choices_lib.concatenate(state.population, state.population)
    kept = search._survivors(choices, jnp.asarray(points_PM), jnp.int32(0))
    np.testing.assert_array_equal(np.sort(kept.ranks_P), [0] * 8 + [1] * 2)
    assert {tuple(point) for point in np.asarray(kept.objectives_PM)} == {
        tuple(point) for point in points_PM[:10]
    }


def test_a_bee_moves_one_clients_row_by_its_difference_from_another_source():
    search, _, state = started("abc")
    visited_P = jnp.array([0, 0, 3, 4, 5, 6, 7, 8, 9, 9])
    changed_PKL = search._change(jax.random.key(5), state.sources_PKL, visited_P)
    sources_PKL = np.asarray(state.sources_PKL)
    for bee, changed_KL in enumerate(np.asarray(changed_PKL)):
        old_KL = sources_PKL[visited_P[bee]]
        (client,) = np.flatnonzero((changed_KL != old_KL).any(axis=1))
        steps_PL = np.abs(sources_PKL[:, client] - old_KL[client])
        moved_L = np.abs(changed_KL[client] - old_KL[client])
        assert np.any(np.all(moved_L <= steps_PL + 1e-6, axis=1))


def test_onlookers_prefer_sources_of_a_low_rank():
    search, _, state = started("abc")
    points_PM = jnp.stack([jnp.arange(10.0)] * 2, axis=1)
    state = dataclasses.replace(state, objectives_PM=points_PM)
    keys = jax.random.split(jax.random.key(0), 300)
    drawn = np.asarray(jax.vmap(lambda key: search._onlookers(key, state))(keys))
    fitness_P = 1 / (1 + np.arange(10))
    shares_P = np.bincount(drawn.ravel(), minlength=10) / drawn.size
    np.testing.assert_allclose(shares_P, fitness_P / fitness_P.sum(), atol=0.03)


def test_a_source_without_success_is_left_to_a_scout_and_an_improved_one_starts_anew():
    search, params, state = started("abc", limit=3)
    state = dataclasses.replace(state, trials_P=jnp.array([0, 5, 4, 0, 0, 0, 0, 0, 0, 2]))
    population, asked = search.ask(jax.random.key(2), state, params)
    assert int(asked.scout) == 1
    fitness_PM = state.objectives_PM + 1.0
    fitness_PM = fitness_PM.at[9].set(state.objectives_PM[9] - 1.0)
    told, _ = search.tell(jax.random.key(3), population, fitness_PM, asked, params)
    np.testing.assert_array_equal(told.trials_P, [1, 0, 5, 1, 1, 1, 1, 1, 1, 0])
    changed = np.any(np.asarray(told.sources_PKL != state.sources_PKL), axis=(1, 2))
    assert set(np.flatnonzero(changed)) == {1, 9}
    np.testing.assert_allclose(told.objectives_PM[1], fitness_PM[1])


def test_pheromone_evaporates_and_ants_of_the_front_share_one_deposit():
    search, params, state = started("aco")
    population, state = search.ask(jax.random.key(2), state, params)
    points_PM = jnp.array([[0.0, 1.0], [1.0, 0.0]] + [[2.0, 2.0]] * 8)
    told, _ = search.tell(jax.random.key(3), population, points_PM, state, params)
    masks_PKL = np.asarray(choices_lib.unpack(population.words_PKW, 6))
    np.testing.assert_allclose(told.pheromone_KL, 0.5 + masks_PKL[:2].mean(axis=0), rtol=1e-6)


def test_ants_follow_pheromone_importance_and_evenness():
    search, params, state = started("aco", beta=0.0)
    wanted_KL = np.tile([False, True, False, True, False, False], (4, 1))
    sure = dataclasses.replace(state, pheromone_KL=jnp.where(wanted_KL, 1.0, 1e-12))
    population, _ = search.ask(jax.random.key(2), sure, params)
    np.testing.assert_array_equal(choices_lib.unpack(population.words_PKW, 6)[0], wanted_KL)
    greedy = dataclasses.replace(params, beta=200.0)
    population, _ = search.ask(jax.random.key(2), state, greedy)
    objectives_PM = np.asarray(population.objectives())
    own_KL = problem_lib.own_choice(PROBLEM)
    own = brute_force.worth(np.asarray(own_KL), SCORES_KL)[0]
    assert objectives_PM[-1, 0] == pytest.approx(own, rel=1e-4)
    assert objectives_PM[0, 1] == pytest.approx(2 / 9, rel=1e-4)


def test_a_flip_swaps_one_layer_of_one_client():
    mask_KL = problem_lib.own_choice(PROBLEM)
    keys = jax.random.split(jax.random.key(0), 400)
    flipped_NKL = np.asarray(jax.vmap(lambda key: swaps.flip(key, PROBLEM, mask_KL))(keys))
    changes_NKL = flipped_NKL != np.asarray(mask_KL)
    assert (flipped_NKL.sum(axis=2) == 2).all()
    assert (changes_NKL.sum(axis=(1, 2)) == 2).all()
    assert (changes_NKL.any(axis=2).sum(axis=1) == 1).all()
    assert changes_NKL.any(axis=0).all()


def annealed(current_M, new_M, temperature, archive_PM):
    """Which share of chains goes to (the new point, a member of the archive)."""
    search, _, state = started("sa")
    archive = state.archive
    points_VM = jnp.full_like(archive.objectives_VM, jnp.inf)
    points_VM = points_VM.at[: len(archive_PM)].set(jnp.array(archive_PM))
    archive = dataclasses.replace(archive, objectives_VM=points_VM)
    state = dataclasses.replace(state, archive=archive, current_M=jnp.array(current_M))
    keys = jax.random.split(jax.random.key(0), 2000)
    moved_NM = jax.vmap(
        lambda key: (
            search._move(key, state, ~state.current_KL, jnp.array(new_M), temperature).current_M
        )
    )(keys)
    to_new = np.all(np.asarray(moved_NM) == np.array(new_M, np.float32), axis=1)
    stays = np.all(np.asarray(moved_NM) == np.array(current_M, np.float32), axis=1)
    return to_new.mean(), 1 - to_new.mean() - stays.mean()


FRONT = [[4.0, 0.0], [2.0, 2.0], [0.0, 4.0]]


@pytest.mark.parametrize(
    ("current", "new", "shares"),
    [
        # Nothing dominates the new point: always taken.
        ([2.0, 2.0], [1.0, 3.0], (1.0, 0.0)),
        # The current point and one member, [2, 2], dominate it: mean of 1/16 and 1/16, T = 0.1.
        ([2.0, 2.0], [3.0, 3.0], (1 / (1 + np.exp(1 / 16 / 0.1)), 0.0)),
        # One member dominates it, not the current point.
        ([1.0, 4.0], [3.0, 3.0], (1 / (1 + np.exp(1 / 16 / 0.1)), 0.0)),
        # It dominates the current point, but [2, 2] dominates it by 1/16.
        ([3.5, 3.5], [3.0, 3.0], (1 / (1 + np.exp(1 / 16)), 1 / (1 + np.exp(-1 / 16)))),
    ],
)
def test_a_chain_moves_with_the_published_probabilities(current, new, shares):
    np.testing.assert_allclose(annealed(current, new, 0.1, FRONT), shares, atol=0.04)


def test_only_nondominated_levels_count_as_members():
    _, _, state = started("sa")
    points_VM = jnp.full_like(state.archive.objectives_VM, jnp.inf)
    points_VM = points_VM.at[:4].set(jnp.array([[-1.0, 0.0], [-1.0, 1.0], [-3.0, 2.0], [-2, 3]]))
    archive = dataclasses.replace(state.archive, objectives_VM=points_VM)
    assert np.flatnonzero(external_archive.nondominated(archive)).tolist() == [0, 2]


def test_the_repository_loses_members_of_the_fullest_cells():
    crowd_NM = np.array([[0.31 + 0.001 * n, 0.69 - 0.001 * n] for n in range(9)])
    lone_NM = np.array([[0.0, 1.0], [0.15, 0.85], [1.0, 0.0], [0.51, 0.49], [0.515, 0.485]])
    dominated_NM = np.array([[0.9, 0.9], [np.nan, 0.0]])
    points_PM = np.concatenate([crowd_NM, dominated_NM, lone_NM]).astype(np.float32)
    keys_PKL = np.arange(16.0)[:, None, None]
    kept = mopso.keep(jax.random.key(0), jnp.asarray(keys_PKL), jnp.asarray(points_PM), 8)
    rows = np.asarray(kept.keys_PKL).ravel().astype(int)
    assert np.asarray(kept.valid_P).all()
    np.testing.assert_array_equal(kept.objectives_PM, points_PM[rows])
    assert {11, 12, 13} <= set(rows.tolist())
    assert not {9, 10} & set(rows.tolist())
    by_cell = Counter("crowd" if row < 9 else "pair" if row > 13 else row for row in rows)
    assert by_cell["pair"] == 2
    assert by_cell["crowd"] == 3


def test_leaders_come_from_cells_with_few_members():
    search, _, state = started("mopso")
    cells_P, valid_P = jnp.array([1, 3, 3, 3] + [1] * 6), jnp.arange(10) < 4
    repository = dataclasses.replace(state.repository, cells_P=cells_P, valid_P=valid_P)
    keys = jax.random.split(jax.random.key(0), 300)
    drawn = np.asarray(jax.vmap(lambda key: search._leaders(key, repository))(keys))
    shares_P = np.bincount(drawn.ravel(), minlength=10) / drawn.size
    np.testing.assert_allclose(shares_P[:4], [3 / 4, 1 / 12, 1 / 12, 1 / 12], atol=0.02)
    assert shares_P[4:].sum() == 0


def test_particles_turn_round_at_the_boundary_and_mutate_less_and_less():
    search, params, state = started("mopso")
    late = dataclasses.replace(state, generation_counter=jnp.int32(20))
    fast = dataclasses.replace(late, velocity_PKL=jnp.full_like(state.velocity_PKL, 10.0))
    _, moved = search.ask(jax.random.key(0), fast, params)
    np.testing.assert_array_equal(moved.position_PKL, 1.0)
    assert np.asarray(moved.velocity_PKL).max() < 0
    keys = jax.random.split(jax.random.key(1), 200)
    middle_PKL = jnp.full((SIZE, 4, 6), 0.5)
    drawn = jax.vmap(lambda key: mopso.mutate(key, middle_PKL, jnp.float32(0.25)))(keys)
    steps = np.abs(np.asarray(drawn) - 0.5)
    assert steps.max() <= 0.25
    assert 0.2 < (steps.max(axis=(2, 3)) > 0).mean() < 0.3
    assert ((steps > 0).sum(axis=(2, 3)) <= 1).all()
