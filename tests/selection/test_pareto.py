import jax
import numpy as np
import pytest
from pymoo.indicators.hv import HV
from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

from f3ocus_jax.selection import pareto
from tests.helpers.marking import marked
from tests.selection import brute_force


def draw_points(kind, seed):
    draw = np.random.default_rng(seed)
    if kind == "floats":
        return draw.random((30, 2)).astype(np.float32)
    if kind == "ties and duplicates":
        return draw.integers(0, 4, (30, 2)).astype(np.float32)
    if kind == "all equal":
        return np.full((7, 2), 0.5, np.float32)
    if kind == "one":
        return draw.random((1, 2)).astype(np.float32)
    points_PM = draw.integers(0, 5, (20, 2)).astype(np.float32)
    points_PM[draw.random((20, 2)) < 0.2] = np.nan
    return points_PM


KINDS = ("floats", "ties and duplicates", "all equal", "one", "with NaN")
cases = pytest.mark.parametrize(
    ("kind", "seed"),
    marked(
        [(kind, seed) for kind in KINDS for seed in range(4)],
        extended=[(kind, seed) for kind in KINDS for seed in range(1, 4)],
    ),
)


@cases
def test_ranks_agree_with_peeling_by_hand(kind, seed):
    points_PM = draw_points(kind, seed)
    np.testing.assert_array_equal(jax.jit(pareto.ranks)(points_PM), brute_force.ranks(points_PM))


@cases
def test_ranks_agree_with_pymoo(kind, seed):
    points_PM = draw_points(kind, seed)
    numbers_PM = points_PM[~np.isnan(points_PM).any(axis=1)]
    ranks_P = np.asarray(pareto.ranks(numbers_PM))
    for rank, members in enumerate(NonDominatedSorting().do(numbers_PM)):
        assert set(np.flatnonzero(ranks_P == rank)) == set(members)


@pytest.mark.parametrize("size", [1, 40, pareto.COUNTED + 1])
def test_order_is_a_stable_sort_by_all_keys(size):
    keys = np.random.default_rng(size).integers(0, 4, (3, size))
    expected = sorted(range(size), key=lambda place: tuple(keys[:, place]))
    np.testing.assert_array_equal(jax.jit(pareto.order)(*keys), expected)


@pytest.mark.parametrize("layers", [1, 7])
def test_sorted_index_in_rows_sort_every_row_by_all_keys_and_keep_ties_in_order(layers):
    keys_NKL = np.random.default_rng(layers).integers(0, 3, (2, 5, layers))
    found_KL = np.asarray(jax.jit(pareto.sorted_index_in_rows)(*keys_NKL))
    for k in range(5):
        expected = sorted(range(layers), key=lambda layer: tuple(keys_NKL[:, k, layer]))
        np.testing.assert_array_equal(np.argsort(found_KL[k]), expected)
        np.testing.assert_array_equal(pareto.sorted_index(*keys_NKL[:, k]), found_KL[k])


@cases
def test_front_holds_every_nondominated_point_once(kind, seed):
    points_PM = draw_points(kind, seed)
    marked = points_PM[np.asarray(jax.jit(pareto.front)(points_PM))]
    assert len(marked) == len({tuple(point) for point in marked})
    assert {tuple(point) for point in marked} == brute_force.front(points_PM)


@cases
def test_hypervolume_agrees_with_pymoo_and_with_counting_cells(kind, seed):
    points_PM = draw_points(kind, seed)
    reference_M = np.array([0.8, 0.9] if kind == "floats" else [3.0, 3.5], np.float32)
    got = jax.jit(pareto.hypervolume)(points_PM, reference_M)
    np.testing.assert_allclose(got, brute_force.hypervolume(points_PM, reference_M), rtol=1e-5)
    numbers_PM = points_PM[~np.isnan(points_PM).any(axis=1)]
    np.testing.assert_allclose(got, HV(ref_point=reference_M)(numbers_PM), rtol=1e-5, atol=1e-6)


def test_points_on_the_reference_add_no_hypervolume():
    points_PM = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, -5.0]], np.float32)
    assert pareto.hypervolume(points_PM, np.ones(2, np.float32)) == 0


def test_rows_not_in_use_neither_rank_nor_dominate_nor_fill_the_area():
    points_PM = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]], np.float32)
    valid_P = np.array([False, True, True])
    np.testing.assert_array_equal(pareto.ranks(points_PM, valid_P), [3, 0, 1])
    np.testing.assert_array_equal(pareto.front(points_PM, valid_P), [False, True, False])
    reference_M = np.array([3.0, 3.0], np.float32)
    assert pareto.hypervolume(points_PM, reference_M, valid_P) == 4
    order_P, ranks_P, _ = pareto.best(points_PM, 3, valid_P)
    assert list(order_P) == [1, 2, 0]
    assert list(ranks_P) == [0, 1, 4]


def test_crowding_is_infinite_at_the_ends_and_the_neighbours_gap_between_them():
    points_PM = np.array([[0.0, 4.0], [1.0, 2.0], [3.0, 1.0], [4.0, 0.0], [5.0, 5.0]], np.float32)
    ranks_P = pareto.ranks(points_PM)
    got = jax.jit(pareto.crowding)(points_PM, ranks_P)
    expected = [np.inf, 3 / 5 + 3 / 5, 3 / 5 + 2 / 5, np.inf, np.inf]
    np.testing.assert_allclose(got, expected, rtol=1e-6)


def test_best_keeps_the_ends_and_prefers_other_points_to_duplicates():
    points_PM = np.array(
        [[0.0, 2.0], [0.0, 2.0], [1.0, 1.0], [1.0, 1.0], [2.0, 0.0], [3.0, 3.0]], np.float32
    )
    order_P, ranks_P, _ = jax.jit(pareto.best, static_argnames="size")(points_PM, size=4)
    assert set(np.asarray(order_P)[:2]) == {0, 4}
    assert list(np.asarray(order_P)[2:]) == [2, 5]
    assert list(ranks_P) == [0, 0, 0, 1]


@cases
def test_best_loses_no_front_point_while_there_is_room(kind, seed):
    points_PM = draw_points(kind, seed)
    order_P, ranks_P, _ = pareto.best(points_PM, len(points_PM))
    kept = points_PM[np.asarray(order_P)[np.asarray(ranks_P) == 0]]
    assert {tuple(point) for point in kept} == brute_force.front(points_PM)


@cases
def test_by_crowding_orders_the_front_by_crowding(kind, seed):
    points_PM = draw_points(kind, seed)
    valid_P = np.random.default_rng(seed).random(len(points_PM)) < 0.8
    order_P, members = jax.jit(pareto.by_crowding)(points_PM, valid_P)
    found_PM = points_PM[np.asarray(order_P)[: int(members)]]
    expected = brute_force.front(np.where(valid_P[:, None], points_PM, np.nan))
    assert sorted(map(tuple, found_PM)) == sorted(expected)
    distances_P = np.asarray(pareto.crowding(found_PM, np.zeros(len(found_PM), np.int32)))
    # Distances are compared to within a part in a thousand.
    assert np.all(distances_P[1:] <= distances_P[:-1] * 1.001)


@cases
def test_best_gives_ranks_and_crowding_of_the_fronts_it_takes(kind, seed):
    points_PM = np.unique(draw_points(kind, seed), axis=0)
    size = max(len(points_PM) // 3, 1)
    kept_P, ranks_P, _ = jax.jit(pareto.best, static_argnums=1)(points_PM, size)
    every_P = np.array(brute_force.ranks(points_PM))
    able_P = every_P < len(points_PM)
    np.testing.assert_array_equal(ranks_P[: able_P.sum()], np.sort(every_P)[:size][: able_P.sum()])
    np.testing.assert_array_equal(
        every_P[np.asarray(kept_P)][: able_P.sum()], ranks_P[: able_P.sum()]
    )


def test_first_smallest_takes_the_first_of_equals():
    values_QP = np.random.default_rng(0).integers(0, 3, (6, 40)).astype(np.float32)
    values_QP[:, 0] = np.inf
    places_P, smallest_P = jax.jit(pareto.first_smallest)(values_QP)
    np.testing.assert_array_equal(places_P, np.argmin(values_QP, axis=0))
    np.testing.assert_array_equal(smallest_P, values_QP.min(axis=0))
