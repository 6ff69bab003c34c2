import jax
import numpy as np

from f3ocus_jax.selection import choices as choices_lib, problem as problem_lib, random_keys
from tests.selection import brute_force


def test_decode_takes_each_clients_largest_keys_and_nan_last():
    scores_KL = brute_force.draw_scores(2, 4)
    problem = problem_lib.make_problem(scores_KL, np.array([1, 3]))
    keys_PKL = np.array([[[0.1, 0.9, 0.9, -1.0], [np.nan, 0.0, -3.0, 2.0]]], np.float32)
    decoded = jax.jit(random_keys.decode)(keys_PKL, problem)
    expected = np.array([[[0, 1, 0, 0], [0, 1, 1, 1]]], bool)
    np.testing.assert_array_equal(choices_lib.unpack(decoded.words_PKW, 4), expected)
    np.testing.assert_allclose(
        decoded.objectives()[0], brute_force.worth(expected[0], scores_KL), rtol=1e-5
    )


def test_places_order_by_front_then_crowding():
    points_PM = np.array([[2.0, 2.0], [0.0, 1.0], [1.0, 0.0], [3.0, 3.0]], np.float32)
    places_P = np.asarray(random_keys._positions(points_PM))
    assert set(places_P[[1, 2]]) == {0, 1}
    assert list(places_P[[0, 3]]) == [2, 3]
