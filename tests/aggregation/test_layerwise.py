"""What many clients become: weighted means, order statistics, clipping, against NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation import RULES, layerwise as aggregation, robust
from f3ocus_jax.aggregation.layerwise import Change, TrainedLayers

LAYERS = 5


def example(clients=3, seed=0):
    """Layers, who trained which, weights, and changes; the last client leaves a slot unused."""
    draw = np.random.default_rng(seed)
    layers_KR = np.stack([np.sort(draw.permutation(LAYERS - 1)[:2]) for _ in range(clients)])
    layers_KR[-1, 1] = LAYERS
    rows_KR = draw.normal(size=(clients, 2, 2, 3)).astype(np.float32)
    rows_KR[-1, 1] = 0.0
    heads_K = draw.normal(size=(clients, 4)).astype(np.float32)
    weights_K = draw.integers(1, 90, clients).astype(np.float32)
    return layers_KR.astype(np.int32), weights_K, rows_KR, heads_K


def trained_by(layers_KR, rows_KR, layer, counted_K):
    """(clients, their changes of a layer, float64) of those that trained it and count."""
    who = [k for k in np.flatnonzero(counted_K) if layer in layers_KR[k]]
    rows = [rows_KR[k, list(layers_KR[k]).index(layer)].astype(np.float64) for k in who]
    return who, rows


def summed(layers_KR, weights_K, rows_KR, heads_K):
    """Adds the clients up one by one, as they come in."""
    rows_L, heads = {"w": jnp.zeros((LAYERS, 2, 3))}, {"a": {"b": jnp.zeros(4)}, "none": {}}
    sums = aggregation.make_empty_sum(rows_L, heads)
    for layers_R, weight, rows_R, one in zip(layers_KR, weights_K, rows_KR, heads_K, strict=True):
        change = Change({"w": rows_R}, {"a": {"b": one}, "none": {}})
        trained = TrainedLayers(layers_R, {"a": True, "none": False})
        sums = jax.jit(aggregation.add_update)(sums, change, trained, weight)
    return aggregation.weighted_mean(sums)


def test_the_running_mean_is_the_sample_weighted_mean_over_those_who_trained_a_layer():
    layers_KR, weights_K, rows_KR, heads_K = example(clients=7)
    combined = summed(layers_KR, weights_K, rows_KR, heads_K)
    for layer in range(LAYERS):
        who, rows = trained_by(layers_KR, rows_KR, layer, weights_K > 0)
        assert bool(combined.trained_L[layer]) == bool(who)
        expected = np.average(rows, axis=0, weights=weights_K[who]) if who else 0.0
        np.testing.assert_allclose(combined.change.rows["w"][layer], expected, atol=1e-6)
    expected = np.average(heads_K.astype(np.float64), axis=0, weights=weights_K)
    np.testing.assert_allclose(combined.change.heads["a"]["b"], expected, atol=1e-6)


def test_a_client_of_weight_zero_is_ignored_even_if_it_returns_nan():
    layers_KR, weights_K, rows_KR, heads_K = example()
    weights_K[1] = 0
    expected = summed(*(np.delete(value, 1, axis=0) for value in example()))
    rows_KR[1], heads_K[1] = np.nan, np.inf
    combined = summed(layers_KR, weights_K, rows_KR, heads_K)
    for leaf, known in zip(jax.tree.leaves(combined), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(leaf, known)


def test_the_unit_of_the_weights_does_not_matter():
    layers_KR, weights_K, rows_KR, heads_K = example()
    expected = summed(layers_KR, weights_K, rows_KR, heads_K)
    combined = summed(layers_KR, weights_K / 1024, rows_KR, heads_K)
    assert np.any(combined.trained_L)
    for leaf, known in zip(jax.tree.leaves(combined), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(leaf, known, rtol=1e-5)


def test_no_client_changes_nothing():
    layers_KR, weights_K, rows_KR, heads_K = example()
    combined = summed(layers_KR, 0 * weights_K, np.nan * rows_KR, heads_K)
    assert not any(combined.trained.values())
    assert not np.any(combined.trained_L)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(combined.change))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_difference_is_taken_in_float32_and_is_zero_in_unused_slots(dtype):
    draw = np.random.default_rng(2)
    rows_L = {"w": jnp.asarray(draw.normal(size=(LAYERS, 2, 3)), dtype)}
    rows_R = {"w": jnp.asarray(draw.normal(size=(3, 2, 3)), dtype)}
    heads = {name: {"b": jnp.zeros(4, dtype)} for name in "ac"}
    after = jax.tree.map(jnp.ones_like, heads)
    trained = TrainedLayers(jnp.array([1, 4, LAYERS]), {"a": True, "c": False})
    change = aggregation.difference(rows_L, heads, trained, rows_R, after)
    np.testing.assert_array_equal(change.heads["c"]["b"], 0)
    assert {leaf.dtype for leaf in jax.tree.leaves(change)} == {jnp.dtype(jnp.float32)}
    before = np.asarray(rows_L["w"], np.float32)[[1, 4]]
    np.testing.assert_array_equal(change.rows["w"][:2], np.float32(rows_R["w"][:2]) - before)
    np.testing.assert_array_equal(change.rows["w"][2], 0)
    np.testing.assert_array_equal(change.heads["a"]["b"], 1)


@pytest.mark.parametrize(("limit", "length"), [(0.0, 13.0), (20.0, 13.0), (6.5, 6.5)])
def test_clipping_shortens_a_change_and_keeps_its_direction(limit, length):
    change = Change({"w": jnp.array([[3.0, 4.0]])}, {"a": {"b": jnp.array([12.0])}})
    clipped = aggregation.clip_to_norm(change, limit)
    assert float(aggregation.global_norm(clipped)) == pytest.approx(length)
    np.testing.assert_allclose(clipped.heads["a"]["b"], 12.0 * length / 13.0, rtol=1e-6)
    still = aggregation.clip_to_norm(jax.tree.map(jnp.zeros_like, change), 1.0)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(still))


def numpy_median(values, share):
    del share
    return np.median(values, axis=0)


def numpy_trimmed(values, share):
    # at least one at each end, and at least one value stays
    cut = max(int(np.floor(share * len(values) + 1e-9)), int(share > 0))
    cut = min(cut, (len(values) - 1) // 2)
    return np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0)


ORACLES = {"median": numpy_median, "trimmed_mean": numpy_trimmed}


def make_centre(rule, share):
    if rule == "trimmed_mean":
        return robust.make_trimmed_mean(robust.TrimmedMeanOptions(share))
    return RULES[rule].build()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.49])
@pytest.mark.parametrize("clients", [1, 2, 9, 10])
@pytest.mark.parametrize("rule", ORACLES)
def test_order_statistics_of_each_layer_equal_numpy_s(rule, clients, share):
    layers_KR, _, rows_KR, heads_K = example(clients, seed=clients)
    counted_K = np.ones(clients + 1, bool)
    counted_K[-1] = False  # one more client that does not count, full of NaN
    layers_KR = np.concatenate([layers_KR, layers_KR[:1]])
    changes_K = Change(
        {"w": np.concatenate([rows_KR, np.full_like(rows_KR[:1], np.nan)])},
        {"a": {"b": np.concatenate([heads_K, np.full_like(heads_K[:1], np.inf)])}},
    )
    trained_K = TrainedLayers(layers_KR, {"a": np.ones(clients + 1, bool)})
    centre = make_centre(rule, share)
    combined = robust.combine(centre, changes_K, trained_K, counted_K, num_layers=LAYERS)
    for layer in range(LAYERS):
        who, rows = trained_by(layers_KR, rows_KR, layer, counted_K)
        assert bool(combined.trained_L[layer]) == bool(who)
        expected = ORACLES[rule](rows, share) if who else 0.0
        np.testing.assert_allclose(combined.change.rows["w"][layer], expected, atol=1e-6)
    expected = ORACLES[rule](heads_K.astype(np.float64), share)
    np.testing.assert_allclose(combined.change.heads["a"]["b"], expected, atol=1e-6)


@pytest.mark.parametrize("rule", ORACLES)
def test_one_client_that_lies_does_not_move_the_robust_rules_far(rule):
    _, _, rows_KR, heads_K = example(clients=9)
    layers_KR = np.tile(np.array([[0, 1]], np.int32), (9, 1))
    honest = np.abs(rows_KR).max()
    rows_KR[4], heads_K[4] = 1e9, -1e9
    combine = functools.partial(robust.combine, make_centre(rule, 0.2), num_layers=LAYERS)
    trained_K = TrainedLayers(layers_KR, {"a": np.arange(9) % 2 == 0})
    changes_K = Change({"w": rows_KR}, {"a": {"b": heads_K}})
    combined = combine(changes_K, trained_K, np.ones(9, bool))
    expected = ORACLES[rule](heads_K[::2].astype(np.float64), 0.2)
    np.testing.assert_allclose(combined.change.heads["a"]["b"], expected, atol=1e-6)
    assert np.abs(combined.change.rows["w"]).max() <= honest


def test_a_head_is_averaged_over_the_clients_of_its_task_alone():
    draw = np.random.default_rng(2)
    heads_K = draw.normal(size=(3, 4)).astype(np.float32)
    rows_L, start = {"w": jnp.zeros((LAYERS, 2))}, {"w": jnp.zeros(4)}
    sums = aggregation.make_empty_sum(rows_L, {"a": start, "b": start, "c": start})
    for task, weight, head in zip("aba", [1.0, 2.0, 5.0], heads_K, strict=True):
        trained = TrainedLayers(jnp.array([LAYERS]), {name: name == task for name in "abc"})
        change = aggregation.difference(
            rows_L,
            dict.fromkeys("abc", start),
            trained,
            {"w": jnp.zeros((1, 2))},
            {name: {"w": jnp.asarray(head)} for name in "abc"},
        )
        sums = aggregation.add_update(sums, change, trained, weight)
    combined = aggregation.weighted_mean(sums)
    of_a = np.average(heads_K[[0, 2]].astype(np.float64), axis=0, weights=[1, 5])
    np.testing.assert_allclose(combined.change.heads["a"]["w"], of_a, rtol=1e-6)
    np.testing.assert_allclose(combined.change.heads["b"]["w"], heads_K[1], rtol=1e-6)
    assert {name: bool(value) for name, value in combined.trained.items()} == {
        "a": True,
        "b": True,
        "c": False,
    }
