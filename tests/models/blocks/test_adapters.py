"""Bottleneck adapters: their size, their start and what they compute."""

import jax
import numpy as np

from f3ocus_jax.models.blocks import adapters


def test_an_adapter_of_the_paper_has_74544_parameters():
    # F³OCUS, PEFT table: 12 adapters are 0.90 M parameters at width 768.
    rows_L = jax.eval_shape(
        lambda: adapters.init_stack(jax.random.key(0), layers=12, width=768, bottleneck=48)
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(rows_L)) == 12 * 74_544


def test_a_fresh_adapter_is_the_identity_and_differs_from_layer_to_layer():
    rows_L = adapters.init_stack(jax.random.key(0), layers=2, width=6, bottleneck=3)
    hidden_BTD = jax.random.normal(jax.random.key(1), (2, 4, 6))
    row = jax.tree.map(lambda leaf: leaf[0], rows_L)
    np.testing.assert_array_equal(adapters.apply(row, hidden_BTD), hidden_BTD)
    down_LDA = rows_L["down"]["kernel"]
    assert not np.allclose(down_LDA[0], down_LDA[1])


def test_an_adapter_adds_a_rectified_bottleneck_to_its_input():
    draw = np.random.default_rng(0)
    row = {
        "down": {"kernel": draw.normal(size=(6, 3)), "bias": draw.normal(size=3)},
        "up": {"kernel": draw.normal(size=(3, 6)), "bias": draw.normal(size=6)},
    }
    row = jax.tree.map(np.float32, row)
    hidden_BTD = draw.normal(size=(2, 4, 6)).astype(np.float32)
    inner = np.maximum(hidden_BTD @ row["down"]["kernel"] + row["down"]["bias"], 0)
    expected = hidden_BTD + inner @ row["up"]["kernel"] + row["up"]["bias"]
    np.testing.assert_allclose(adapters.apply(row, hidden_BTD), expected, rtol=1e-5, atol=1e-5)


def test_no_adapter_is_the_identity():
    hidden_BTD = np.ones((1, 2, 3), np.float32)
    assert adapters.init_stack(jax.random.key(0), layers=2, width=3, bottleneck=0) == {}
    assert adapters.apply({}, hidden_BTD) is hidden_BTD
