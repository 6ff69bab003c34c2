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


def random_front(seed):
    """(points_PM, valid_P): a front among unused rows, in any order and on axes of any scale."""
    draw = np.random.default_rng(seed)
    size, unused = int(draw.integers(3, 12)), int(draw.integers(0, 4))
    importances, variances = np.sort(draw.random((2, size)) ** draw.uniform(0.3, 3), axis=1)
    scales_M = 10 ** draw.uniform(-2, 2, 2)
    points_PM = scales_M * np.stack([-importances[::-1], variances[::-1]], axis=1)
    points_PM = np.concatenate([points_PM, -10 * scales_M * draw.random((unused, 2))])
    order = draw.permutation(len(points_PM))
    return points_PM[order].astype(np.float32), (np.arange(len(points_PM)) < size)[order]


def rows_of(points_PM, valid_P):
    """Rows in use, the most important first, with their points in float64."""
    rows = sorted(np.flatnonzero(valid_P), key=lambda row: points_PM[row, 0])
    return rows, points_PM[rows].astype(np.float64)


@pytest.mark.parametrize("seed", range(12))
def test_knee_of_any_front_lies_farthest_below_the_line_between_its_ends(seed):
    """Signed distances in the plane whose axes run from end to end."""
    points_PM, valid_P = random_front(seed)
    rows, points = rows_of(points_PM, valid_P)
    scaled = (points - points[0]) / np.abs(points[-1] - points[0])
    along = (scaled[-1] - scaled[0]) / np.linalg.norm(scaled[-1] - scaled[0])
    below = [along[1] * x - along[0] * y for x, y in scaled]
    assert pick("knee", points_PM=points_PM, valid_P=valid_P) == rows[int(np.argmax(below))]


@pytest.mark.parametrize("seed", range(12))
def test_importance_and_index_of_any_front_follow_from_their_definitions(seed):
    points_PM, valid_P = random_front(seed)
    rows, points = rows_of(points_PM, valid_P)
    for limit in [*(points[:, 1] * 1.0001), points[:, 1].min() / 2]:
        even = [row for row, point in zip(rows, points, strict=True) if point[1] <= limit]
        assert pick("importance", limit, points_PM, valid_P) == (even or rows[-1:])[0]
    for place in range(len(rows) + 2):
        expected = rows[::-1][min(place, len(rows) - 1)]
        assert pick("index", place, points_PM, valid_P) == expected


def test_knee_of_one_or_two_points_is_the_most_important():
    assert pick("knee", valid_P=np.array([False, False, True, False, False])) == 2
    assert pick("knee", valid_P=np.array([False, True, False, True, False])) == 1


@pytest.mark.parametrize(("variance", "expected"), [(100.0, 0), (8.0, 1), (1.0, 2), (-1.0, 3)])
def test_importance_takes_the_most_important_point_that_is_even_enough(variance, expected):
    assert pick("importance", variance) == expected


@pytest.mark.parametrize(("place", "expected"), [(0, 3), (1, 2), (3, 0), (99, 0), (-1, 3)])
def test_index_counts_from_the_least_important_and_stays_on_the_front(place, expected):
    assert pick("index", place) == expected
