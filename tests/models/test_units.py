"""What is a unit's row made of, and does everything else stay frozen?"""

import functools

import jax
import numpy as np
import pytest
from flax import traverse_util

from f3ocus_jax.models import FAMILIES, base, units
from f3ocus_jax.models.blocks import lora
from tests.helpers.families import CASES, FAMILY_OF, FURTHER, TINY, apply, made_with_lora
from tests.helpers.marking import marked
from tests.helpers.models import tiny_vilt

NORM_LEAVES, BIASED = ("scale", "bias"), ("query", "key", "value", "attention_output")
UNBIASED = [(name, "language") for name in ("blip2_llama", "blip2_t5", "llava", "smolvlm")]


@pytest.mark.parametrize(("name", "stack"), CASES)
@pytest.mark.parametrize("unit", sorted(set(units.UNITS) - {"mixed", "prompt"}))
def test_join_undoes_split_for_every_family_and_the_arrays_stay_the_same(name, stack, unit):
    model, params, _ = made_with_lora(name, stack)
    if unit == "bias" and (name, stack) in UNBIASED:
        pytest.skip("Llama and T5 have no biases; see the test of their error")
    frozen, rows_L, head = units.split(params, unit)
    joined = units.join(frozen, rows_L, head, unit)
    assert jax.tree.structure(joined) == jax.tree.structure(params)
    assert all(map(np.shares_memory, jax.tree.leaves(joined), jax.tree.leaves(params)))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(rows_L)} == {model.num_layers}
    count = sum(map(np.size, jax.tree.leaves((frozen, rows_L, head))))
    assert count == sum(map(np.size, jax.tree.leaves(params)))


def test_norms_and_biases_are_those_of_vilt_s_block():
    _, params, _ = made_with_lora(*CASES[-1])
    _, norms_L, _ = units.split(params, "norm")
    norms = ("attention_norm", "feed_forward_norm")
    assert set(traverse_util.flatten_dict(norms_L)) == {(n, k) for n in norms for k in NORM_LEAVES}
    _, biases_L, _ = units.split(params, "bias")
    maps = (*BIASED, "intermediate", "output", *norms)
    assert set(traverse_util.flatten_dict(biases_L)) == {(name, "bias") for name in maps}


@pytest.mark.parametrize(("name", "stack"), UNBIASED)
def test_a_stack_without_biases_is_refused(name, stack):
    model = FAMILY_OF[name].make_model(TINY[name](selectable=stack))
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    with pytest.raises(ValueError, match="the selectable blocks of this model have no bias"):
        units.split(shapes, "bias")


@pytest.mark.parametrize(("name", "stack"), marked(CASES, FURTHER))
def test_fresh_low_rank_changes_change_nothing(name, stack):
    model, params, batch = made_with_lora(name, stack)
    fresh = lora.init_stack(jax.random.key(2), params["blocks"], 3)
    plain = {key: params[key] for key in params if key != "lora"}
    expected = apply(model, plain, batch)
    np.testing.assert_array_equal(apply(model, {**plain, "lora": fresh}, batch), expected)


@pytest.mark.parametrize(("name", "stack"), marked(CASES, FURTHER))
def test_changes_while_a_block_runs_equal_changed_weights(name, stack):
    """Oracle: query and value kernels plus the product of the two maps, by NumPy."""
    model, params, batch = made_with_lora(name, stack)
    blocks = traverse_util.flatten_dict(params["blocks"])
    changes = traverse_util.flatten_dict(params["lora"])
    adapted = {path[:-1] for path in changes}
    assert adapted == {path[:-1] for path in blocks if path[-2].endswith(("query", "value"))}
    for path in adapted:
        change = changes[*path, "down"] @ changes[*path, "up"]
        blocks[*path, "kernel"] = blocks[*path, "kernel"] + change
    plain = {key: params[key] for key in params if key != "lora"}
    changed = {**plain, "blocks": traverse_util.unflatten_dict(blocks)}
    expected = first_block(model, changed, batch)
    assert np.abs(expected - first_block(model, plain, batch)).max() > 1e-3
    np.testing.assert_allclose(first_block(model, params, batch), expected, atol=1e-5)
    merged = units.merged(params)
    assert merged.keys() == plain.keys()
    np.testing.assert_allclose(first_block(model, merged, batch), expected, atol=1e-5)


@functools.partial(jax.jit, static_argnums=0)
def first_block(model, params, batch):
    """Output of the first selectable block; what is above it may hide its changes."""
    hidden, context = model.embed(params["embeddings"], batch)
    rows = {key: params[key] for key in base.ROW_KEYS if key in params}
    return base.run_block(model, units.row_at(rows, 0), hidden, context)


def test_low_rank_rows_have_the_size_that_the_papers_table_counts():
    """Rank 16 on query and value of 12 layers of width 768: 0.59 million."""
    spec = tiny_vilt(hidden_size=768, num_attention_heads=12, num_hidden_layers=12)
    shapes = jax.eval_shape(FAMILIES["vilt"].make_model(spec).init, jax.random.key(0))
    rows_L = jax.eval_shape(lambda b: lora.init_stack(jax.random.key(0), b, 16), shapes["blocks"])
    count = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(rows_L))
    assert count == 12 * 2 * 2 * 768 * 16


def test_blocks_without_queries_are_refused():
    with pytest.raises(ValueError, match=r"blocks have the maps \['in'\], none ends in"):
        lora.init_stack(jax.random.key(0), {"in": np.zeros((2, 3, 3))}, 2)
