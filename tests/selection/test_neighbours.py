import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.selection import (
    choices as choices_lib,
    exact,
    external_archive,
    neighbours,
    problem as problem_lib,
)
from tests.helpers.marking import marked
from tests.selection import brute_force


def test_neighbours_are_one_or_two_swaps_from_members_of_the_front():
    scores_KL = brute_force.draw_scores(5, 6, correlation=0.8)
    problem = problem_lib.make_problem(scores_KL, np.full(5, 2))
    noise_PKL = np.random.default_rng(0).random((30, 5, 6))
    masks_PKL = np.argsort(np.argsort(noise_PKL, axis=2), axis=2) < 2
    choices = choices_lib.from_words(choices_lib.pack(jnp.asarray(masks_PKL)), problem.scores_KL)
    archive = jax.jit(external_archive.make_external_archive)(problem, choices)
    words_PKW, count = external_archive.members(archive, 30)
    members_PKL = np.asarray(choices_lib.unpack(words_PKW, 6))[: int(count)]
    draw = jax.jit(neighbours.random_neighbours, static_argnums=3)
    near = draw(jax.random.key(0), problem, archive, 100)
    found_PKL = np.asarray(choices_lib.unpack(near.words_PKW, 6))
    assert (found_PKL.sum(axis=2) == 2).all()
    apart_PP = (found_PKL[:, None] != members_PKL[None]).sum(axis=(2, 3))
    assert (apart_PP[::2].min(axis=1) <= 2).all()
    assert (apart_PP.min(axis=1) <= 4).all()
    assert set(apart_PP.argmin(axis=1)) == set(range(len(members_PKL)))


@pytest.mark.parametrize(
    "name", marked(selection.METAHEURISTICS, extended=("abc", "nsga2", "sa", "mopso"))
)
def test_points_of_the_true_front_that_no_trade_off_favours_are_found(name):
    """Without neighbours, ant colony missed a quarter of the points of such fronts."""
    select = selection.make_selector(name, population=100, generations=100)
    found = points = 0
    for seed in range(4):
        scores_KL = brute_force.draw_scores(6, 6, correlation=0.8 * (seed % 2), seed=seed)
        no_front_PKL = np.zeros((100, 6, 6), bool)
        chosen = select(jax.random.key(seed), scores_KL, np.full(6, 2), no_front_PKL)
        reached_PM = np.asarray(chosen.front_objectives_PM)[np.asarray(chosen.front_valid_P)]
        true_NM = exact.true_front(scores_KL, np.full(6, 2)).points_NM
        same_NP = np.all(np.isclose(true_NM[:, None], reached_PM[None], rtol=1e-5), axis=2)
        found, points = found + same_NP.any(axis=1).sum(), points + len(true_NM)
    assert found >= 0.85 * points
