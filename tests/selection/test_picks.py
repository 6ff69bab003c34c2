import jax
import numpy as np
import pytest

from f3ocus_jax.selection import PICKS

FRONT_PM = np.array([[-5.0, 9.0], [-4.0, 2.0], [-3.0, 1.0], [-1.0, 0.0], [0.0, 0.0]], np.float32)
VALID_P = np.array([True, True, True, True, False])


def pick(name, value=0.0, points_PM=FRONT_PM, valid_P=VALID_P):
    return int(jax.jit(PICKS[name])(points_PM, valid_P, value))


def test_knee_is_farthest_from_the_line_between_the_ends():
    low, high = FRONT_PM[0], FRONT_PM[3]
    extent = np.abs(high - low)
    line = (high - low) / extent
    distances = [
        abs(line[0] * (p - low)[1] / extent[1] - line[1] * (p - low)[0] / extent[0])
        for p in FRONT_PM[:4]
    ]
    assert pick("knee") == int(np.argmax(distances)) == 1


def test_knee_of_one_or_two_points_is_the_most_important():
    assert pick("knee", valid_P=np.array([False, False, True, False, False])) == 2
    assert pick("knee", valid_P=np.array([False, True, False, True, False])) == 1


@pytest.mark.parametrize(("variance", "expected"), [(100.0, 0), (8.0, 1), (1.0, 2), (-1.0, 3)])
def test_importance_takes_the_most_important_point_that_is_even_enough(variance, expected):
    assert pick("importance", variance) == expected


@pytest.mark.parametrize(("place", "expected"), [(0, 3), (1, 2), (3, 0), (99, 0), (-1, 3)])
def test_index_counts_from_the_least_important_and_stays_on_the_front(place, expected):
    assert pick("index", place) == expected
