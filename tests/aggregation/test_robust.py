"""All rules for clients that are not trusted: identities, brute force, hostile updates."""

import functools
import itertools

import jax
import numpy as np
import pytest
from scipy import optimize

from f3ocus_jax.aggregation import MEAN, RULES, distances, few_trainers, robust
from f3ocus_jax.aggregation.layerwise import Change, TrainedLayers

ROBUST = [name for name in RULES if name != MEAN]


@functools.cache
def compiled(name):
    return jax.jit(RULES[name].build())


def combine(name, values_K, counted_K=None):
    """One rule on a pytree of two leaves, (values_K[:, :2], the rest), joined again."""
    counted_K = np.ones(len(values_K), bool) if counted_K is None else counted_K
    tree_K = {"a": np.float32(values_K[:, :2]), "b": np.float32(values_K[:, 2:, None])}
    found = compiled(name)(tree_K, counted_K)
    return np.concatenate([found["a"], found["b"][:, 0]])


def updates(clients, size=5, seed=0):
    return np.random.default_rng([clients, seed]).normal(size=(clients, size)).astype(np.float32)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("clients", [1, 2, 3, 9])
def test_equal_updates_combine_to_themselves(name, clients):
    values_K = np.repeat(updates(1), clients, axis=0)
    np.testing.assert_allclose(combine(name, values_K), values_K[0], rtol=1e-6)


@pytest.mark.parametrize("name", ROBUST)
def test_no_client_changes_nothing(name):
    found = combine(name, np.full((3, 5), np.nan), np.zeros(3, bool))
    np.testing.assert_array_equal(found, 0)


@pytest.mark.parametrize("name", ROBUST)
def test_two_clients_of_whom_nobody_knows_which_is_wrong_are_averaged(name):
    values_K = updates(2)
    np.testing.assert_allclose(combine(name, values_K), values_K.mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("clients", [3, 4, 7])
def test_the_order_of_the_clients_has_no_effect(name, clients):
    values_K = updates(clients)
    expected = combine(name, values_K)
    for order in itertools.islice(itertools.permutations(range(clients)), 1, 30, 7):
        np.testing.assert_allclose(combine(name, values_K[list(order)]), expected, atol=1e-6)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e30])
def test_clients_that_do_not_count_have_no_effect(name, poison):
    values_K = updates(7)
    counted_K = np.array([True, False, True, True, False, True, True])
    expected = combine(name, values_K[counted_K])
    values_K[~counted_K] = poison
    np.testing.assert_allclose(combine(name, values_K, counted_K), expected, atol=1e-6)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize(("clients", "hostile"), [(3, 1), (5, 1), (9, 2)])
@pytest.mark.parametrize("attack", [-100.0, 1e30])
def test_a_minority_of_hostile_clients_moves_no_rule_beyond_the_honest_ones(
    name, clients, hostile, attack
):
    values_K = updates(clients) + 3.0
    values_K[:hostile] = attack
    honest_K = values_K[hostile:]
    found = combine(name, values_K)
    radius = np.linalg.norm(honest_K - honest_K.mean(axis=0), axis=1).max()
    assert np.linalg.norm(found - honest_K.mean(axis=0)) <= 2 * radius


def test_the_trimmed_mean_withstands_its_share_of_hostile_clients():
    values_K = updates(9)
    values_K[:2] = 1e30
    options = robust.TrimmedMeanOptions()
    found = robust.make_trimmed_mean(options)(values_K, np.ones(9, bool))
    np.testing.assert_allclose(found, np.sort(values_K, axis=0)[2:7].mean(axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        *((0, 0.1, 0), (1, 0.49, 0), (2, 0.1, 0), (3, 0.1, 1), (9, 0.1, 1), (20, 0.1, 2)),
        *((9, 0.0, 0), (100, 0.29, 29), (4, 0.49, 1), (5, 0.49, 2)),
    ],
)
def test_the_trimmed_share_leaves_out_at_least_one_client_at_each_end(count, share, expected):
    assert int(robust.count_trimmed(np.int32(count), share)) == expected


def krum_by_hand(values_K, share, several):
    """Blanchard et al. (2017) in float64, client by client."""
    values_K, count = values_K.astype(np.float64), len(values_K)
    hostile = min(max(int(share * count + 1e-9), 1), max(count - 3, 0) // 2)
    nearest = max(count - hostile - 2, 1)
    scores = []
    for k in range(count):
        squares = [np.sum((values_K[k] - values_K[j]) ** 2) for j in range(count) if j != k]
        scores.append(sum(sorted(squares)[:nearest]))
    best = np.argsort(scores, kind="stable")
    chosen = best[: nearest if several else 1]
    tied = [k for k in best if np.isclose(scores[k], scores[chosen[-1]], rtol=1e-9)]
    return values_K[sorted({*chosen, *tied})].mean(axis=0)


@pytest.mark.parametrize("clients", range(1, 12))
@pytest.mark.parametrize(("name", "several"), [("krum", False), ("multi_krum", True)])
def test_krum_equals_its_definition(clients, name, several):
    values_K = updates(clients)
    expected = krum_by_hand(values_K, 0.25, several)
    np.testing.assert_allclose(combine(name, values_K), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize(("count", "expected"), [(1, 0), (4, 0), (5, 1), (9, 2), (11, 2), (12, 3)])
def test_krum_presumes_no_more_hostile_clients_than_its_proof_allows(count, expected):
    assert int(distances.count_hostile(np.int32(count), 0.25)) == expected
    assert count < 3 or count >= 2 * expected + 3


@pytest.mark.parametrize("clients", [3, 4, 7])
def test_the_geometric_median_minimises_the_sum_of_distances(clients):
    values_K = updates(clients, size=3).astype(np.float64)

    def cost(point):
        return np.linalg.norm(values_K - point, axis=1).sum()

    best = optimize.minimize(cost, values_K.mean(axis=0), method="Nelder-Mead", tol=1e-10).x
    found = combine("geometric_median", np.float32(values_K))
    assert cost(found) <= cost(best) * (1 + 1e-4)
    assert cost(values_K.mean(axis=0)) > cost(best) * (1 + 1e-3)


@pytest.mark.parametrize("name", ROBUST)
def test_each_layer_is_combined_among_those_who_trained_it_alone(name):
    """What another layer's trainers send has no effect on distances."""
    draw = np.random.default_rng(4)
    layers_KR = np.array([[0, 1], [0, 2], [0, 1], [1, 2], [0, 3]], np.int32)
    rows_KR = draw.normal(size=(5, 2, 3)).astype(np.float32)
    heads_K = draw.normal(size=(5, 4)).astype(np.float32)
    rule = RULES[name].build()
    trained_K = TrainedLayers(layers_KR, {"a": np.ones(5, bool), "b": np.zeros(5, bool)})
    changes_K = Change({"w": rows_KR}, {"a": {"b": heads_K}, "b": {}})
    found = robust.combine(rule, changes_K, trained_K, np.ones(5, bool), num_layers=5)
    np.testing.assert_array_equal(found.trained_L, [True] * 4 + [False])
    np.testing.assert_array_equal(found.change.rows["w"][4], 0)
    for layer in range(4):
        who = [k for k in range(5) if layer in layers_KR[k]]
        own = np.stack([rows_KR[k, list(layers_KR[k]).index(layer)] for k in who])
        expected = rule(own, np.ones(len(who), bool))
        np.testing.assert_allclose(found.change.rows["w"][layer], expected, atol=1e-5)
    expected = rule(heads_K, np.ones(5, bool))
    np.testing.assert_allclose(found.change.heads["a"]["b"], expected, atol=1e-5)


@pytest.mark.parametrize("name", ROBUST)
@pytest.mark.parametrize("huge", [1e6, 1e30])
def test_one_of_two_trainers_moves_a_layer_by_no_more_than_the_limit(name, huge):
    """Layer 1 has two trainers, layer 0 has five; one client sends a huge update of both."""
    draw = np.random.default_rng(5)
    layers_KR = np.array([[0, 3], [0, 1], [0, 3], [0, 1], [0, 3]], np.int32)
    rows_KR = draw.normal(size=(5, 2, 4)).astype(np.float32)
    rows_KR[1] *= huge
    rule, changes_K = RULES[name].build(), Change({"w": rows_KR}, {"none": {}})
    trained_K = TrainedLayers(layers_KR, {"none": np.zeros(5, bool)})
    found = robust.combine(
        rule, changes_K, trained_K, np.ones(5, bool), num_layers=3, outlier_ratio=5.0
    )
    norms = np.linalg.norm(np.float64(rows_KR), axis=2)[layers_KR < 3]
    median = np.sort(norms)[(len(norms) - 1) // 2]
    assert np.linalg.norm(found.change.rows["w"][1]) <= 5.0 * median
    # a layer with a majority is left to the rule
    expected = rule(rows_KR[:, 0], np.ones(5, bool))
    np.testing.assert_allclose(found.change.rows["w"][0], expected, rtol=1e-5)


def test_honest_updates_of_few_trainers_keep_every_bit():
    draw = np.random.default_rng(6)
    rows_KR = draw.normal(size=(2, 2, 50)).astype(np.float32)
    layers_KR = np.array([[0, 1], [0, 2]], np.int32)
    counted_K = np.ones(2, bool)
    kept = few_trainers.limit_rows({"w": rows_KR}, layers_KR, counted_K, 3, ratio=5.0)
    np.testing.assert_array_equal(kept["w"], rows_KR)
    head = few_trainers.limit_head({"b": rows_KR[:, 0]}, counted_K, ratio=5.0)
    np.testing.assert_array_equal(head["b"], rows_KR[:, 0])
    lying = np.stack([rows_KR[0, 0], 1e30 * rows_KR[1, 0]])
    head = few_trainers.limit_head({"b": lying}, counted_K, ratio=5.0)
    assert np.linalg.norm(head["b"][1]) <= 5.0 * np.linalg.norm(lying[0]) * (1 + 1e-6)


@pytest.mark.parametrize("scale", [1e-6, 1e-3, 1e3])
def test_the_limit_of_few_trainers_is_taken_to_the_lower_median_in_any_unit(scale):
    lengths_KR = np.float32(scale) * np.array([[3, 1], [2, 100]], np.float32)
    rows_KR = lengths_KR[..., None] * np.array([0.6, 0.8], np.float32)
    layers_KR, counted_K = np.array([[0, 1], [0, 2]], np.int32), np.ones(2, bool)
    kept = few_trainers.limit_rows({"w": rows_KR}, layers_KR, counted_K, 3, ratio=5.0)["w"]
    expected_KR = np.float32(scale) * np.array([[3, 1], [2, 10]])
    np.testing.assert_allclose(np.linalg.norm(kept, axis=-1), expected_KR, rtol=1e-5)
