import jax
import jax.numpy as jnp
import numpy as np

from f3ocus_jax.aggregation import aggregate, aggregate_head, aggregate_heads


def weighted_mean(rows_L, layers_KR, weights_K, rows_KR):
    """Layer by layer, client by client, in float64."""
    result = np.array(rows_L, np.float64)
    for layer in range(len(result)):
        trained = [
            (weight, rows_KR[client][place])
            for client, weight in enumerate(weights_K)
            for place in range(layers_KR.shape[1])
            if layers_KR[client, place] == layer and weight > 0
        ]
        if trained:
            total = sum(weight for weight, _ in trained)
            result[layer] = sum(weight * row.astype(np.float64) for weight, row in trained) / total
    return result


def example(seed=0):
    draw = np.random.default_rng(seed)
    rows_L = draw.normal(size=(5, 2, 3)).astype(np.float32)
    layers_KR = np.array([[0, 2], [2, 5], [2, 4]], np.int32)  # 5 = L: a place not in use
    weights_K = np.array([10.0, 30.0, 60.0], np.float32)
    rows_KR = draw.normal(size=(3, 2, 2, 3)).astype(np.float32)
    return rows_L, layers_KR, weights_K, rows_KR


def test_aggregate_is_the_sample_weighted_mean_over_those_who_trained_a_layer():
    rows_L, layers_KR, weights_K, rows_KR = example()
    result = aggregate({"w": rows_L}, layers_KR, weights_K, {"w": rows_KR})["w"]
    np.testing.assert_allclose(
        result, weighted_mean(rows_L, layers_KR, weights_K, rows_KR), rtol=1e-6
    )


def test_aggregate_leaves_a_layer_nobody_chose_as_it_was():
    rows_L, layers_KR, weights_K, rows_KR = example()
    result = aggregate({"w": rows_L}, layers_KR, weights_K, {"w": rows_KR})["w"]
    np.testing.assert_array_equal(result[1], rows_L[1])
    np.testing.assert_array_equal(result[3], rows_L[3])


def test_aggregate_ignores_clients_of_weight_zero_even_if_they_return_nan():
    rows_L, layers_KR, weights_K, rows_KR = example()
    weights_K[2] = 0
    rows_KR[2] = np.nan
    result = aggregate({"w": rows_L}, layers_KR, weights_K, {"w": rows_KR})["w"]
    expected = weighted_mean(rows_L, layers_KR, weights_K, rows_KR)
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_aggregate_of_one_client_is_what_it_returned():
    rows_L, _, _, rows_KR = example()
    layers_KR = np.array([[1, 3]], np.int32)
    result = aggregate({"w": rows_L}, layers_KR, np.array([7.0], np.float32), {"w": rows_KR[:1]})[
        "w"
    ]
    np.testing.assert_allclose(result[jnp.array([1, 3])], rows_KR[0], rtol=1e-6)


def test_aggregate_keeps_dtypes_and_compiles_once_for_all_choices():
    rows_L, layers_KR, weights_K, rows_KR = example()
    half = {"w": jnp.asarray(rows_L, jnp.bfloat16)}
    assert aggregate(half, layers_KR, weights_K, {"w": rows_KR})["w"].dtype == jnp.bfloat16
    compiled = aggregate._cache_size()
    aggregate(half, layers_KR[::-1].copy(), weights_K, {"w": rows_KR})
    assert aggregate._cache_size() == compiled


def test_head_is_the_weighted_mean_of_all_clients():
    draw = np.random.default_rng(1)
    heads_K = {"kernel": draw.normal(size=(3, 4, 2)).astype(np.float32)}
    weights_K = np.array([1.0, 2.0, 5.0], np.float32)
    before = jax.tree.map(lambda leaf: leaf[0], heads_K)
    result = aggregate_head(before, weights_K, heads_K)["kernel"]
    expected = np.average(heads_K["kernel"].astype(np.float64), axis=0, weights=weights_K)
    np.testing.assert_allclose(result, expected, rtol=1e-6)
    untouched = aggregate_head(before, np.zeros(3, np.float32), heads_K)["kernel"]
    np.testing.assert_array_equal(untouched, before["kernel"])


def test_a_head_is_averaged_over_the_clients_of_its_task_alone():
    draw = np.random.default_rng(2)
    heads_K = {name: {"w": draw.normal(size=(3, 4)).astype(np.float32)} for name in "abc"}
    before = jax.tree.map(lambda leaf: np.zeros_like(leaf[0]), heads_K)
    weights_K = np.array([1.0, 2.0, 5.0], np.float32)
    result = aggregate_heads(before, ["a", "b", "a"], weights_K, heads_K)
    of_a = np.average(heads_K["a"]["w"][[0, 2]].astype(np.float64), axis=0, weights=[1, 5])
    np.testing.assert_allclose(result["a"]["w"], of_a, rtol=1e-6)
    np.testing.assert_allclose(result["b"]["w"], heads_K["b"]["w"][1], rtol=1e-6)
    np.testing.assert_array_equal(result["c"]["w"], before["c"]["w"])
