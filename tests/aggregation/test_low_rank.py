"""The mean of low-rank changes is that of the products: against NumPy's products and its SVD."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.aggregation import low_rank
from f3ocus_jax.aggregation.settings import AggregationConfig
from f3ocus_jax.errors import ConfigError

INPUTS, OUTPUTS, LAYERS, LEFT_OUT = 9, 7, 5, 1
LAYERS_KR = np.array([[0, 2], [1, 2], [0, 3], [2, LAYERS]], np.int32)
"""Layers of four clients: one that only the client left out trains, and an unused slot."""
WEIGHTS_K = np.array([12, 80, 3, 41], np.float32)
CLIENTS = len(WEIGHTS_K)
MAPS = (("query",), ("cross", "value"))


def maps_of(tree, path):
    for name in path:
        tree = tree[name]
    return tree["down"], tree["up"]


def make_rows(draw, leading, rank):
    """Both maps of a query and of a nested value, with leading axes."""

    def pair():
        down = draw.normal(size=(*leading, INPUTS, rank))
        up = draw.normal(size=(*leading, rank, OUTPUTS))
        return {"down": down.astype(np.float32), "up": up.astype(np.float32)}

    return {"query": pair(), "cross": {"value": pair()}}


def one_round(rank, seed=0):
    """What a server holds: layers, changes with NaN of a client that does not count, and so on."""
    draw = np.random.default_rng(seed)
    counted_K = np.arange(CLIENTS) != LEFT_OUT
    rows_L, changes_K = make_rows(draw, (LAYERS,), rank), make_rows(draw, LAYERS_KR.shape, rank)
    for leaf in jax.tree.leaves(changes_K):
        leaf[LEFT_OUT] = np.nan
    weights_KR = np.broadcast_to(WEIGHTS_K[:, None], LAYERS_KR.shape)
    return rows_L, changes_K, LAYERS_KR, weights_KR, counted_K


def mean_by_hand(path, layer, rows_L, changes_K, layers_KR, weights_KR, counted_K):
    """The weighted mean of the products of those who trained a layer, in float64; None if none."""
    who = [k for k in np.flatnonzero(counted_K) if layer in layers_KR[k]]
    products = []
    for k in who:
        slot = list(layers_KR[k]).index(layer)
        pairs = zip(maps_of(rows_L, path), maps_of(changes_K, path), strict=True)
        down, up = (before[layer].astype(np.float64) + change[k, slot] for before, change in pairs)
        products.append(down @ up)
    return np.average(products, axis=0, weights=weights_KR[who, 0]) if who else None


def nearest(matrix, rank):
    left, values, right = np.linalg.svd(matrix)
    return (left[:, :rank] * values[:rank]) @ right[:rank]


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_the_new_maps_are_the_nearest_to_the_weighted_mean_of_the_products(rank):
    given = one_round(rank)
    change = jax.jit(low_rank.mean_products)(*given)
    untrained = 0
    for path, layer in itertools.product(MAPS, range(LAYERS)):
        mean, changed = mean_by_hand(path, layer, *given), maps_of(change, path)
        if mean is None:
            untrained += 1
            assert not any(leaf[layer].any() for leaf in changed)
            continue
        before = maps_of(given[0], path)
        down, up = (one[layer] + other[layer] for one, other in zip(before, changed, strict=True))
        np.testing.assert_allclose(down @ up, nearest(mean, rank), atol=2e-5)
    assert 0 < untrained < LAYERS * len(MAPS)


def test_clients_that_agree_keep_their_product_to_rounding():
    rows_L, changes_K, layers_KR, weights_KR, _ = one_round(rank=3)
    same_K = jax.tree.map(lambda leaf: np.broadcast_to(leaf[:1, :1], leaf.shape), changes_K)
    given = (rows_L, same_K, layers_KR, weights_KR, np.ones(CLIENTS, bool))
    change = jax.jit(low_rank.mean_products)(*given)
    layer, path = layers_KR[0, 0], MAPS[0]
    found, expected = (
        np.matmul(*(before[layer] + own[at] for before, own in zip(*maps, strict=True)))
        for maps, at in (
            ((maps_of(rows_L, path), maps_of(change, path)), layer),
            ((maps_of(rows_L, path), maps_of(same_K, path)), (0, 0)),
        )
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_maps_of_zero_product_keep_a_direction_to_learn_in():
    down, up = low_rank.factorise(jnp.zeros((INPUTS, 6)), jnp.ones((6, OUTPUTS)), 3)
    np.testing.assert_allclose(down.T @ down, np.eye(3), atol=1e-6)
    assert not np.asarray(up).any()


@pytest.mark.parametrize(
    ("other", "name"),
    [
        ({"rule": "median", "weights": "examples"}, "rule"),
        ({"optimizer": "fedadam"}, "optimizer"),
        ({"weights": "steps"}, "weights"),
    ],
)
def test_the_mean_of_products_refuses_what_works_on_each_map(other, name):
    with pytest.raises(ConfigError, match=rf"{name} = .* low_rank = 'product'"):
        AggregationConfig(low_rank="product", **other)


def test_the_mean_of_products_holds_all_updates_of_a_round():
    assert AggregationConfig().streams
    assert not AggregationConfig(low_rank="product").streams
