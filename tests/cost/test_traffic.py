"""Parameters, bits and FLOPs add up, and give the paper's columns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.cost import traffic
from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.models.vilt import FAMILY, model as vilt
from f3ocus_jax.types import ClientRecord, RoundRecord

STEP = StepFlops(
    num_layers=3,
    forward=100e9,
    readout_backward=20e9,
    head_backward=10e9,
    frozen_head_backward=12e9,
    frozen_block_backward=7e9,
    trained_block_backward=9e9,
    row_backward=5e9,
)


def record(number, layers):
    clients = [
        ClientRecord(f"client {k}", 10, 2, None, [], [], [], [], chosen, None, {})
        for k, chosen in enumerate(layers)
    ]
    return RoundRecord(number, 0.5, 1.0, clients, None, {})


def vilt_adapters(layers):
    """Shapes of ViLT-B/32's adapters: width 768, bottleneck 48."""
    shapes = {"down": (768, 48), "down_bias": (48,), "up": (48, 768), "up_bias": (768,)}
    return {
        name: jax.ShapeDtypeStruct((layers, *shape), jnp.float32) for name, shape in shapes.items()
    }


def test_row_parameters_are_those_of_the_papers_adapter():
    parameters_L = traffic.row_parameters(vilt_adapters(12))
    assert parameters_L.tolist() == [74_544] * 12
    assert traffic.parameter_count(vilt_adapters(12)) == 894_528


def test_row_parameters_refuses_leaves_of_different_depth():
    with pytest.raises(ValueError, match=r"\[2, 3\]"):
        traffic.row_parameters({"a": np.ones((2, 4)), "b": np.ones((3, 4))})


def test_megabits_are_32_bits_per_parameter():
    assert traffic.megabits(12 * 74_544) == pytest.approx(28.624896)
    assert round(traffic.megabits(122.35e6), 1) == 3915.2  # the paper's full fine-tuning


PAPERS_COLUMNS = [(12, 1, 0.90, 28.8), (4, 1, 0.30, 9.7), (12, 3, 2.69, 86.1)]
"""Layers of a client, adapters in each, millions of parameters and MBit as printed."""


@pytest.fixture(scope="module")
def papers_adapters():
    """Shapes of the adapters of ViLT-B/32 as the package makes it; no array is allocated."""
    model = vilt.make_model(FAMILY.spec(FAMILY.config(), num_answers=100, adapter_size=48))
    return jax.eval_shape(model.init, jax.random.key(0))["adapters"]


@pytest.mark.parametrize(("layers", "copies", "millions", "printed"), PAPERS_COLUMNS)
def test_the_papers_columns_are_adapters_and_a_few_thousand_unnamed_parameters(
    layers, copies, millions, printed, papers_adapters
):
    parameters_L = traffic.row_parameters(papers_adapters)
    chosen = np.arange(12) < layers
    (up,), _ = traffic.traffic(copies * parameters_L, chosen[None])
    counted = copies * int(parameters_L[chosen].sum())
    assert up == pytest.approx(traffic.megabits(counted), rel=1e-12)
    assert up == pytest.approx(printed, abs=0.25)
    # The same numbers of further parameters explain all six figures.
    explained = [
        unnamed
        for unnamed in range(-20_000, 20_000)
        if round((counted + unnamed) / 1e6, 2) == millions
        and round(traffic.megabits(counted + unnamed), 1) == printed
    ]
    assert {5_479, 6_144, 6_511} <= set(explained)


def test_a_run_of_the_papers_model_costs_what_its_layers_weigh(papers_adapters):
    """Four of twelve layers by two clients that share two: each sends 4, and receives 6."""
    chosen = [[0, 1, 2, 3], [2, 3, 4, 5]]
    parameters_L = traffic.row_parameters(papers_adapters)
    layers = jax.tree.map(lambda leaf: leaf.shape[0], papers_adapters)
    assert set(jax.tree.leaves(layers)) == {12}
    steps = [dataclasses.replace(STEP, num_layers=12)] * 2
    costs = traffic.client_costs([record(1, chosen)], parameters_L, [0, 0], steps)
    for cost in costs:
        assert cost.trainable_parameters == 4 * (768 * 48 + 48 + 48 * 768 + 768)
        assert cost.megabits_up == pytest.approx(9.7, abs=0.25)
        assert cost.megabits_down == pytest.approx(1.5 * cost.megabits_up)


def test_traffic_sends_the_own_layers_and_gets_everyones():
    parameters_L = np.array([1_000_000, 2_000_000, 4_000_000])
    mask_KL = np.array([[1, 0, 0], [1, 1, 0]], bool)
    up_K, down_K = traffic.traffic(parameters_L, mask_KL)
    np.testing.assert_allclose(up_K, [32, 96])
    np.testing.assert_allclose(down_K, [96, 96])


def test_traffic_of_nobody_is_nothing():
    up_K, down_K = traffic.traffic(np.array([5, 5]), np.zeros((2, 2), bool))
    assert up_K.tolist() == down_K.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("chosen", "gigaflops"),
    [
        ([], 110),  # the head alone
        ([2], 100 + 20 + 5),
        ([0], 100 + 20 + 2 * 7 + 5),
        ([0, 2], 100 + 20 + 9 + 7 + 5),
        ([0, 1, 2], 100 + 20 + 2 * 9 + 5),
    ],
)
def test_a_step_goes_back_to_the_lowest_chosen_layer_only(chosen, gigaflops):
    assert STEP.training(np.isin(np.arange(3), chosen)) == gigaflops * 1e9


def test_a_step_with_a_frozen_head_leaves_its_weight_gradient_out():
    assert STEP.training(np.array([True, False, True]), trains_head=False) == 133e9
    assert STEP.training(np.zeros(3, bool), trains_head=False) == 100e9


def test_a_frozen_head_is_neither_trained_nor_sent():
    """The head of 1 000 parameters is trained in the first of two rounds alone."""
    clients = [active([2], 3), active([2], 3, left_out="dropped out")]
    records = [RoundRecord(number, 0.5, 1.0, clients, None, {}) for number in (1, 2)]
    parts = (np.full(3, 1_000_000), [1_000, 1_000], [STEP] * 2)
    first, second = traffic.client_costs(records, *parts, trains_head=lambda number: number == 1)
    never, _ = traffic.client_costs(records, *parts, trains_head=lambda number: False)
    layers = 32 + 32 + 3 * 33 / 1e6
    assert first.megabits_total == pytest.approx(layers + 2 * 0.032 / 2, rel=1e-12)
    assert second.megabits_total == pytest.approx(layers + 0.032 / 2, rel=1e-12)
    assert never.megabits_total == pytest.approx(layers, rel=1e-12)
    assert (first.head_parameters, never.head_parameters) == (500, 0)
    assert (first.gigaflops_per_example, never.gigaflops_per_example) == ((125 + 117) / 2, 117)


def test_client_costs_are_means_over_the_rounds_that_trained():
    records = [record(0, [[], []]), record(1, [[2], [0, 2]]), record(2, [[0], [0, 2]])]
    first, second = traffic.client_costs(records, np.full(3, 1_000_000), [7, 9], [STEP] * 2)
    head_both_ways = 2 * 7 * 32 / 1e6
    assert first == traffic.ClientCost(
        *("client 0", 32, 64, 1_000_000, 7, (125 + 139) / 2),
        megabits_total=96 + head_both_ways,
        gigaflops_scoring=None,
        gigaflops_total=0.0,  # no steps
    )
    assert second.megabits_up == second.megabits_down == 64
    assert second.trainable_parameters == 2_000_000
    assert second.head_parameters == 9


def active(layers, steps, **changes):
    """A client that scored three layers, then trained some of them."""
    scored = ClientRecord("client", 10, 2, None, [], [], [0.2, 0.3, 0.5], [], layers, 0.1, {})
    return dataclasses.replace(scored, steps=steps, **changes)


def test_totals_count_head_scores_and_steps_and_less_for_a_client_that_was_absent():
    """Client 1 misses the second of two rounds: it still receives layers and head."""
    gone = active([], 0, left_out="absent", scores=[])
    records = [
        RoundRecord(1, 0.5, 1.0, [active([2], 3), active([0, 2], 5)], None, {}),
        RoundRecord(2, 0.5, 1.0, [active([0], 3), gone], None, {}),
    ]
    million = np.full(3, 1_000_000)
    first, second = traffic.client_costs(
        records, million, [1_000, 2_000], [STEP] * 2, batch_size=4, scoring_flops_K=[50e9, 60e9]
    )
    asked = 3 * (32 + 1) / 1e6  # a score of each layer up, whether to train it down
    assert first.megabits_total == pytest.approx(32 + (64 + 32) / 2 + 2 * 0.032 + asked, rel=1e-12)
    assert first.gigaflops_total == pytest.approx(50 + 4 * 3 * (125 + 139) / 2)
    assert second.megabits_total == pytest.approx(
        32 + 48 + 0.064 * (1 + 0.5) + asked / 2, rel=1e-12
    )
    assert second.gigaflops_total == pytest.approx(60 / 2 + 4 * 5 * 141 / 2)
    assert (first.gigaflops_scoring, second.gigaflops_scoring) == (50, 60)


def test_a_total_is_unknown_if_scoring_is_and_the_client_scores():
    scoring = RoundRecord(1, 0.5, 1.0, [active([2], 3)], None, {})
    blind = RoundRecord(1, 0.5, 1.0, [active([2], 3, scores=[])], None, {})
    arguments = (np.full(3, 10), [7], [STEP])
    assert traffic.client_costs([scoring], *arguments)[0].gigaflops_total is None
    assert traffic.client_costs([blind], *arguments)[0].gigaflops_total == 3 * 125


def test_client_costs_of_a_run_that_did_not_train_yet():
    (only,) = traffic.client_costs([record(0, [[]])], np.full(3, 10), [7], [STEP])
    assert (only.megabits_up, only.trainable_parameters, only.gigaflops_per_example) == (0, 0, 110)
    assert (only.megabits_total, only.gigaflops_total) == (0, 0)
    assert traffic.client_costs([], np.full(3, 10), [7], [STEP]) == []


def test_layer_mask_marks_the_layers_of_every_client():
    mask_KL = traffic.layer_mask([[0, 2], []], 3)
    assert mask_KL.tolist() == [[True, False, True], [False, False, False]]


def test_scores_that_are_kept_cost_no_operations_and_are_not_sent():
    rounds = [record(number, [[0], [1]]) for number in (1, 2, 3)]
    rounds = [
        dataclasses.replace(
            one,
            clients=[
                dataclasses.replace(
                    client, steps=2, scores=[0.5, 0.3, 0.2], kept_scores=one.round > 1
                )
                for client in one.clients
            ],
        )
        for one in rounds
    ]
    anew = [
        dataclasses.replace(
            one, clients=[dataclasses.replace(each, kept_scores=False) for each in one.clients]
        )
        for one in rounds
    ]
    parts = (np.array([10, 10, 10]), [0, 0], [STEP, STEP])
    kept, every = (
        traffic.client_costs(some, *parts, scoring_flops_K=[6e9, 6e9])[0] for some in (rounds, anew)
    )
    assert every.gigaflops_total - kept.gigaflops_total == pytest.approx(6 * 2 / 3)
    bits = 32 * 3 * 2 / 3  # three layers, in two of three rounds
    assert every.megabits_total - kept.megabits_total == pytest.approx(bits / 1e6)
