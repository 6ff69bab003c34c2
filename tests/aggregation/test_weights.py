"""The limit on one client's share: water-filling against a linear program's conditions."""

import jax
import numpy as np
import pytest

from f3ocus_jax.aggregation import layerwise, weights
from f3ocus_jax.aggregation.layerwise import Change, TrainedLayers


@pytest.mark.parametrize("most", [0.05, 0.15, 0.2, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("clients", [1, 2, 3, 9])
@pytest.mark.parametrize("seed", range(3))
def test_shares_are_proportional_below_the_limit_and_sum_to_one(most, clients, seed):
    draw = np.random.default_rng([seed, clients])
    weights_K = draw.integers(1, 90, clients) * np.where(draw.random(clients) < 0.2, 1000, 1)
    shares_K = weights.cap_shares(weights_K, most)
    assert shares_K.sum() == pytest.approx(1.0)
    if most * clients <= 1:
        np.testing.assert_allclose(shares_K, 1 / clients)
        return
    assert shares_K.max() <= most * (1 + 1e-9)
    free_K = shares_K < most * (1 - 1e-9)
    rates = (shares_K / weights_K)[free_K]
    np.testing.assert_allclose(rates, rates[:1].repeat(len(rates)))
    # who is capped would otherwise have more than the limit
    assert all(weights_K[~free_K] * rates.max(initial=0.0) >= most * (1 - 1e-9))


def test_known_shares():
    np.testing.assert_allclose(weights.cap_shares([1000, 1, 1, 1], 0.4), [0.4, 0.2, 0.2, 0.2])
    np.testing.assert_allclose(weights.cap_shares([100, 50, 1, 1], 0.4), [0.4, 0.4, 0.1, 0.1])
    np.testing.assert_allclose(weights.cap_shares([1, 0, 3], 1.0), [0.25, 0, 0.75])
    np.testing.assert_allclose(weights.cap_shares([7, 0, 3], 0.1), [0.5, 0, 0.5])
    np.testing.assert_allclose(weights.cap_shares([0, 0], 0.5), [0, 0])


LAYERS_KR = np.array([[0, 1], [0, 3], [0, 1], [1, 3]], np.int32)
"""Layer 3 stands for a slot that is not in use; nobody trains layer 2."""
EXAMPLES_K = np.array([1000, 10, 30, 5], np.float32)


def weigh(most, examples_K=EXAMPLES_K):
    heads = {"a": np.array([True, True, False, True]), "none": np.zeros(4, bool)}
    trained_K = TrainedLayers(LAYERS_KR, heads)
    return trained_K, weights.weigh_layers(examples_K, trained_K, num_layers=3, most=most)


def test_without_a_limit_a_weight_is_the_number_of_examples_everywhere():
    _, found = weigh(1.0)
    np.testing.assert_array_equal(found.rows_R, EXAMPLES_K[:, None].repeat(2, axis=1))
    np.testing.assert_array_equal(found.heads["a"], EXAMPLES_K)


@pytest.mark.parametrize("most", [0.35, 0.6, 1.0])
def test_the_mean_of_each_layer_has_the_capped_shares_of_its_trainers(most):
    trained_K, weights_K = weigh(most)
    draw = np.random.default_rng(0)
    rows_KR = draw.normal(size=(4, 2, 3)).astype(np.float32)
    heads_K = draw.normal(size=(4, 5)).astype(np.float32)
    heads_K[2] = 0.0  # what another task's client sends
    sums = layerwise.make_empty_sum({"w": np.zeros((3, 3))}, {"a": np.zeros(5), "none": {}})
    for k in range(4):
        trained, weight = jax.tree.map(lambda leaf, k=k: leaf[k], (trained_K, weights_K))
        change = Change({"w": rows_KR[k]}, {"a": heads_K[k], "none": {}})
        sums = jax.jit(layerwise.add_update)(sums, change, trained, weight)
    found = layerwise.weighted_mean(sums)
    for layer in range(3):
        who = [k for k in range(4) if layer in LAYERS_KR[k]]
        shares = weights.cap_shares(EXAMPLES_K[who], most)
        rows = [rows_KR[k, list(LAYERS_KR[k]).index(layer)] for k in who]
        expected = sum((s * row for s, row in zip(shares, rows, strict=True)), np.zeros(3))
        np.testing.assert_allclose(found.change.rows["w"][layer], expected, atol=1e-6)
    shares = weights.cap_shares(EXAMPLES_K[[0, 1, 3]], most)
    np.testing.assert_allclose(found.change.heads["a"], shares @ heads_K[[0, 1, 3]], atol=1e-6)


def test_clients_that_do_not_take_part_take_no_share():
    _, found = weigh(0.5, np.array([1000, 10, 0, 5], np.float32))
    np.testing.assert_allclose(found.rows_R[:, 0], [505, 505, 0, 502.5])


@pytest.mark.parametrize("most", [0.35, 1.0])
def test_normalised_changes_have_the_same_mean_per_step_and_the_mean_number_of_steps(most):
    """FedNova's definition, over the trainers of each layer and entry, with the capped shares."""
    trained_K, weights_K = weigh(most)
    steps_K = np.array([5, 2, 9, 1])
    found = weights.normalise_steps(weights_K, trained_K, steps_K, num_layers=3)
    np.testing.assert_array_equal(found.rows_R, weights_K.rows_R)
    for layer, who in ((0, [0, 1, 2]), (1, [0, 2, 3])):
        shares = weights.cap_shares(EXAMPLES_K[who], most)
        slots = [list(LAYERS_KR[k]).index(layer) for k in who]
        expected = shares @ steps_K[who] / steps_K[who]
        np.testing.assert_allclose(found.factors_R[who, slots], expected, rtol=1e-6)
    shares = weights.cap_shares(EXAMPLES_K[[0, 1, 3]], most)
    expected = shares @ steps_K[[0, 1, 3]] / steps_K[[0, 1, 3]]
    np.testing.assert_allclose(found.head_factors["a"][[0, 1, 3]], expected, rtol=1e-6)
