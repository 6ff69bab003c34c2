import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import (
    choices as choices_lib,
    external_archive,
    limits as limits_lib,
    problem as problem_lib,
)
from tests.helpers.marking import marked
from tests.selection import brute_force

POPULATION = 24
SCORES_KL = brute_force.draw_scores(6, 6, correlation=0.8, seed=1)
BUDGETS = np.full(6, 2)


def draw_masks(scores_KL, budgets, count, seed):
    """Random masks within the budgets."""
    noise_PKL = np.random.default_rng(seed).random((count, *scores_KL.shape))
    return np.argsort(np.argsort(noise_PKL, axis=2), axis=2) < np.array(budgets)[:, None]


def archived(problem, masks_PKL, batches):
    """(−importance, variance) of the members after the masks were added in batches."""
    parts = [
        choices_lib.from_words(choices_lib.pack(jnp.asarray(part)), problem.scores_KL)
        for part in np.split(masks_PKL, batches)
    ]
    archive = external_archive.make_external_archive(problem, parts[0])
    for part in parts[1:]:
        archive = jax.jit(external_archive.add)(archive, part, part.objectives())
    words_PKW, count = external_archive.members(archive, 200)
    members_PKL = np.asarray(choices_lib.unpack(words_PKW, masks_PKL.shape[2]))[: int(count)]
    scores_KL = np.asarray(problem.scores_KL)
    return [brute_force.worth(mask_KL, scores_KL) for mask_KL in members_PKL]


def dominated(point, points):
    return any(
        other[0] <= point[0] and other[1] <= point[1] and tuple(other) != tuple(point)
        for other in points
    )


@pytest.mark.parametrize("budgets", [[2] * 6, [1, 4, 2, 3, 5, 6]])
def test_members_are_the_front_of_everything_that_was_added(budgets):
    problem = problem_lib.make_problem(SCORES_KL, np.array(budgets))
    masks_PKL = draw_masks(SCORES_KL, budgets, 300, seed=0)
    every_PM = np.array([brute_force.worth(mask_KL, SCORES_KL) for mask_KL in masks_PKL])
    expected = sorted(brute_force.front(every_PM))
    assert len(expected) > 4
    np.testing.assert_allclose(sorted(archived(problem, masks_PKL, 10)), expected, rtol=1e-6)


def test_members_of_ranges_are_on_the_front_of_everything_that_was_added(monkeypatch):
    """Eight levels for about forty variances: points may be left out, but none is dominated."""
    monkeypatch.setattr(external_archive, "LEVELS", 8)
    scores_KL = brute_force.draw_scores(8, 9, correlation=0.5)
    problem = problem_lib.make_problem(scores_KL, np.full(8, 3))
    masks_PKL = draw_masks(scores_KL, [3] * 8, 400, seed=1)
    every_PM = [brute_force.worth(mask_KL, scores_KL) for mask_KL in masks_PKL]
    found = archived(problem, masks_PKL, 20)
    assert 2 < len(found) <= 8
    assert not any(dominated(point, every_PM) for point in found)


def test_a_choice_that_must_not_count_is_left_out():
    problem = problem_lib.make_problem(SCORES_KL, BUDGETS)
    masks_PKL = draw_masks(SCORES_KL, BUDGETS, 2, seed=2)
    choices = choices_lib.from_words(choices_lib.pack(jnp.asarray(masks_PKL)), SCORES_KL)
    archive = external_archive.make_external_archive(problem, choices)
    broken_PM = jnp.array([[jnp.nan, 0.0], [-100.0, jnp.nan]])
    after = external_archive.add(archive, choices, broken_PM)
    np.testing.assert_array_equal(after.objectives_VM, archive.objectives_VM)


@pytest.fixture
def evaluated(monkeypatch):
    """Every mask that a search evaluates, as lists of packed choices."""
    log, add = [], external_archive.add

    def logging_add(archive, choices, objectives_PM):
        jax.debug.callback(lambda words_PKW: log.append(np.asarray(words_PKW)), choices.words_PKW)
        return add(archive, choices, objectives_PM)

    monkeypatch.setattr(external_archive, "add", logging_add)
    return log


LIMITED = selection.Requirements(
    costs_L=np.array([1.0, 1.5, 2.0, 2.0, 1.0, 3.0]), capacity_K=np.full(6, 4.0)
)
CASES = [
    *((name, "memetic", None) for name in (*selection.METAHEURISTICS, "SimpleGA")),
    *((name, "published", None) for name in selection.METAHEURISTICS),
    ("nsga2", "memetic", LIMITED),
]
NEIGHBOURS, GENERATIONS = POPULATION // 4, 6


def evaluations(name, variant):
    """The first generation, and per generation the population and, if memetic, neighbours."""
    near = NEIGHBOURS if name in selection.METAHEURISTICS and variant == "memetic" else 0
    # The published annealing has an archive of its own that records the same points.
    times = 2 if (name, variant) == ("sa", "published") else 1
    return times * (POPULATION * (GENERATIONS + 1) + near * GENERATIONS)


@pytest.mark.parametrize(
    ("name", "variant", "wanted"),
    marked(CASES, extended=[case for case in CASES if case[:2] != ("nsga2", "memetic")]),
)
def test_the_front_is_that_of_every_evaluated_choice(name, variant, wanted, evaluated):
    limits = wanted and limits_lib.make_limits(wanted, SCORES_KL, BUDGETS)
    select = selection.make_selector(
        name, population=POPULATION, generations=GENERATIONS, variant=variant
    )
    no_front_PKL = np.zeros((POPULATION, 6, 6), bool)
    chosen = select(jax.random.key(0), SCORES_KL, BUDGETS, no_front_PKL, limits)
    jax.effects_barrier()
    masks_PKL = np.asarray(choices_lib.unpack(jnp.asarray(np.concatenate(evaluated)), 6))
    every_PM = np.array([brute_force.worth(mask_KL, SCORES_KL) for mask_KL in masks_PKL])
    assert len(every_PM) == evaluations(name, variant)
    expected = sorted(brute_force.front(np.unique(every_PM.round(9), axis=0)))
    assert len(expected) < POPULATION
    valid_P = np.asarray(chosen.front_valid_P)
    found = np.asarray(chosen.front_objectives_PM)[valid_P] * [-1, 1]
    np.testing.assert_allclose(sorted(found.tolist()), expected, rtol=1e-5, atol=1e-6)
    pick = brute_force.worth(np.asarray(chosen.mask_KL), SCORES_KL)
    assert not dominated(np.round(pick, 9), every_PM.round(9))
