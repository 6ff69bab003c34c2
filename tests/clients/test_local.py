"""Memory and precision of one client's local training."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from f3ocus_jax.clients import LocalTask, local
from f3ocus_jax.models import units
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.choices import padded_choice
from tests.helpers.models import tiny_batch, tiny_vilt
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, STEPS = 5, 4


def task(layers, batch, *, slots=2, steps=STEPS, depth=LAYERS):
    batches_S = jax.tree.map(lambda leaf: np.stack([leaf] * steps), batch)
    return LocalTask(padded_choice(layers, slots, depth), batches_S, jnp.int32(steps))


def trainer(model, optimizer, unit="block", **settings):
    return local.make_local_training(
        model, unit=unit, loss="cross_entropy", optimizer=optimizer, skip_frozen=True, **settings
    )


def test_the_optimizer_s_state_is_of_the_chosen_rows_and_the_head_alone():
    model, adam, seen = toy_model(layers=LAYERS), optax.adamw(1e-2), []

    def init(trained):
        state = adam.init(trained)
        seen.append(jax.tree.map(np.shape, state))
        return state

    optimizer = optax.GradientTransformation(init, adam.update)
    parts = units.split(model.init(jax.random.key(0)), "block")
    jax.jit(trainer(model, optimizer))(*parts, task([1, 3], toy_batch(4)))
    chosen_R, head = (jax.tree.map(np.shape, part) for part in parts[1:])
    chosen_R = {name: (2, *shape[1:]) for name, shape in chosen_R.items()}
    assert seen[0][0].mu == seen[0][0].nu == (chosen_R, head)


def test_memory_does_not_grow_with_the_number_of_steps():
    """The loop over steps updates rows and optimizer state in their own buffers."""
    model = toy_model(layers=LAYERS, width=64)
    parts = units.split(model.init(jax.random.key(0)), "block")

    def temporary_bytes(steps):
        train = jax.jit(trainer(model, optax.adamw(1e-2)))
        lowered = train.lower(*parts, task([1, 3], toy_batch(4), steps=steps))
        return lowered.compile().memory_analysis().temp_size_in_bytes

    row = sum(leaf[0].nbytes for leaf in jax.tree.leaves(parts[1]))
    assert abs(temporary_bytes(16) - temporary_bytes(2)) < row


@functools.cache
def vilt_update(precision, learning_rate):
    config = tiny_vilt()
    model = vilt.make_model(config)
    params = jax.tree.map(lambda leaf: leaf + 0.1, model.init(jax.random.key(0)))
    parts = units.split(params, "block")
    train = trainer(model, optax.sgd(learning_rate), precision=precision)
    one = task([0, 2], tiny_batch(config), steps=1, depth=3)
    return parts, jax.jit(train)(*parts, one)


@pytest.mark.extended
def test_bfloat16_steps_move_float32_masters_less_than_bfloat16_can_tell():
    (_, rows_L, head), update = vilt_update("bfloat16", 1e-5)
    assert {leaf.dtype for leaf in jax.tree.leaves((update.rows_R, update.head))} == {
        jnp.dtype("float32")
    }
    before = np.asarray(rows_L["query"]["kernel"])[[0, 2]]
    after = np.asarray(update.rows_R["query"]["kernel"])
    moved, resolution = np.abs(after - before), jnp.finfo(jnp.bfloat16).eps * np.abs(before)
    assert np.mean((moved > 0) & (moved < 0.5 * resolution)) > 0.5
    assert np.any(
        np.asarray(head["answers"]["hidden"]["kernel"])
        != update.head["answers"]["hidden"]["kernel"]
    )


@pytest.mark.extended
def test_bfloat16_gradients_are_near_those_of_float32():
    (_, rows_L, _), narrow = vilt_update("bfloat16", 1.0)
    _, wide = vilt_update("float32", 1.0)
    np.testing.assert_allclose(narrow.losses_S, wide.losses_S, rtol=0.05)
    for before, one, other in zip(
        *map(jax.tree.leaves, (rows_L, narrow.rows_R, wide.rows_R)), strict=True
    ):
        start = np.asarray(before)[[0, 2]]
        slope, expected = np.asarray(one) - start, np.asarray(other) - start
        scale = np.abs(expected).max()
        assert np.abs(slope - expected).max() < 0.1 * scale + 1e-3


def test_bfloat16_blocks_compute_in_bfloat16():
    config = tiny_vilt()
    model = vilt.make_model(config)
    parts = units.split(model.init(jax.random.key(0)), "block")
    train = trainer(model, optax.sgd(1.0), precision="bfloat16")
    text = str(jax.make_jaxpr(train)(*parts, task([0], tiny_batch(config), depth=3)))
    products = [line for line in text.splitlines() if "dot_general" in line]
    narrow = [line for line in products if ":bf16" in line.split("=")[0]]
    assert len(narrow) > 0.7 * len(products)


@pytest.mark.parametrize("settings", [{"accumulate": 2}, {"rematerialise": True}])
def test_a_whole_local_training_is_the_same_with_less_memory(settings):
    model = toy_model(layers=LAYERS)
    parts = units.split(model.init(jax.random.key(0)), "block")
    one = task([0, 3], toy_batch(4))
    expected = jax.jit(trainer(model, optax.adamw(1e-2)))(*parts, one)
    found = jax.jit(trainer(model, optax.adamw(1e-2), **settings))(*parts, one)
    chex.assert_trees_all_close(found, expected, rtol=1e-7, atol=1e-5)


@pytest.mark.parametrize("settings", [{}, {"accumulate": 2}, {"proximal": 0.3}])
def test_a_frozen_head_stays_and_the_layers_train_under_it(settings):
    """The same as with an optimizer that never moves the head, in fewer operations."""
    model = toy_model(layers=LAYERS)
    frozen, rows_L, head = units.split(model.init(jax.random.key(0)), "block")
    one = task([0, 3], toy_batch(4))

    def labels(trained):
        names = zip(("adamw", "0"), trained, strict=True)
        return tuple(jax.tree.map(lambda _, name=name: name, part) for name, part in names)

    never = optax.multi_transform({"adamw": optax.adamw(1e-2), "0": optax.set_to_zero()}, labels)
    expected = jax.jit(trainer(model, never, **settings))(frozen, rows_L, head, one)
    train = jax.jit(trainer(model, optax.adamw(1e-2), **settings))
    without = dataclasses.replace(one, trains_head=False)
    found = train(frozen, rows_L, head, without)
    chex.assert_trees_all_equal(found.head, head)
    chex.assert_trees_all_close(found, expected, rtol=1e-6, atol=1e-6)
    flops = [
        train.lower(frozen, rows_L, head, each).compile().cost_analysis()["flops"]
        for each in (one, without)
    ]
    assert flops[1] < flops[0]
