"""Fresh low-rank changes: nothing changes, and the first map starts as in PEFT."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax.models.blocks import lora


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 400), (400, 16), (64, 64)])
def test_the_first_map_is_uniform_within_one_over_the_root_of_its_inputs(inputs, outputs):
    """PEFT's start, Kaiming's uniform with a = √5: the bound is 1/√inputs, whatever the outputs."""
    blocks = {"attention": {"query": {"kernel": jnp.ones((3, inputs, outputs))}}}
    rows = lora.init_stack(jax.random.key(0), blocks, 40)["attention"]["query"]
    assert rows["down"].shape == (3, inputs, 40)
    down, bound = np.abs(np.asarray(rows["down"])), inputs**-0.5
    assert down.max() <= bound
    assert down.max() > 0.99 * bound
    np.testing.assert_allclose(down.mean(), bound / 2, rtol=0.05)


def test_fresh_changes_change_nothing_and_are_drawn_anew_for_every_map_and_layer():
    kernel = np.random.default_rng(0).normal(size=(2, 8, 6)).astype(np.float32)
    blocks = {"query": {"kernel": kernel}, "value": {"kernel": kernel}, "out": {"kernel": kernel}}
    rows = lora.init_stack(jax.random.key(0), blocks, 3)
    assert set(rows) == {"query", "value"}
    assert all(not np.any(maps["up"]) for maps in rows.values())
    drawn = [rows[name]["down"][layer].tobytes() for name in rows for layer in range(2)]
    assert len(set(drawn)) == 4
    np.testing.assert_array_equal(lora.merge(blocks, rows)["query"]["kernel"], kernel)
