import jax
import numpy as np
import pytest

from f3ocus_jax.selection import objectives
from tests.selection import brute_force


@pytest.mark.parametrize(("clients", "layers"), [(1, 1), (1, 5), (4, 1), (5, 12)])
def test_objectives_are_the_papers_sums(clients, layers):
    scores_KL = brute_force.draw_scores(clients, layers)
    mask_KL = np.random.default_rng(1).random((clients, layers)) < 0.4
    got = jax.jit(objectives.objectives)(mask_KL, scores_KL)
    np.testing.assert_allclose(got, brute_force.worth(mask_KL, scores_KL), rtol=1e-5, atol=1e-6)


def test_picking_nothing_and_picking_everything_have_no_variance():
    scores_KL = brute_force.draw_scores(3, 4)
    nothing = objectives.objectives(np.zeros((3, 4), bool), scores_KL)
    everything = objectives.objectives(np.ones((3, 4), bool), scores_KL)
    np.testing.assert_allclose(nothing, [0, 0])
    np.testing.assert_allclose(everything, [-3, 0], rtol=1e-6)


def test_a_score_that_is_not_picked_does_not_count():
    scores_KL = np.array([[1.0, np.nan]], np.float32)
    got = objectives.objectives(np.array([[True, False]]), scores_KL)
    np.testing.assert_allclose(got, [-1.0, 0.25])


def test_as_reported_flips_the_importance_and_nothing_else():
    points_PM = np.array([[-2.0, 1.0], [3.0, 0.5]], np.float32)
    np.testing.assert_array_equal(objectives.as_reported(points_PM), [[2.0, 1.0], [-3.0, 0.5]])
