"""Two adapters of a client teach each other as FedDAT defines it."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from f3ocus_jax.clients import LocalTask, feddat
from f3ocus_jax.models import base, losses, units
from f3ocus_jax.models.blocks import adapters
from f3ocus_jax.models.vilt import model as vilt
from tests.helpers.choices import padded_choice
from tests.helpers.models import random_params, tiny_batch, tiny_vilt

CONFIG = tiny_vilt()
MODEL = vilt.make_model(CONFIG)
LAYERS = [0, 2]
RATE, STEPS = 0.05, 2


def softmax(logits_BC):
    weights = np.exp(logits_BC - logits_BC.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def test_divergence_is_that_of_numpy_at_temperature_three():
    draw = np.random.default_rng(0)
    student_BC, teacher_BC = draw.normal(0, 2, (2, 4, 5))
    p_BC, q_BC = softmax(teacher_BC / 3), softmax(student_BC / 3)
    expected_B = 9 * (p_BC * np.log(p_BC / q_BC)).sum(axis=1)
    found_B = losses.divergence(jnp.asarray(student_BC), jnp.asarray(teacher_BC), 3.0)
    np.testing.assert_allclose(found_B, expected_B, rtol=1e-5)
    np.testing.assert_allclose(losses.divergence(teacher_BC, teacher_BC, 3.0), 0.0, atol=1e-6)


def test_a_loss_is_half_the_task_and_half_the_divergence_without_padding():
    batch = tiny_batch(CONFIG).replace(example_mask_B=np.array([1, 0, 1], np.float32))
    draw = np.random.default_rng(1)
    logits_BC, others_BC = draw.normal(0, 1, (2, 3, 5))
    q_BC = softmax(logits_BC)
    task_B = -np.log(q_BC[np.arange(3), batch.labels_B])
    p_BC, s_BC = softmax(others_BC / 3), softmax(logits_BC / 3)
    apart_B = 9 * (p_BC * np.log(p_BC / s_BC)).sum(axis=1)
    expected = np.mean(0.5 * (task_B + apart_B)[[0, 2]])
    found = feddat.make_branch_loss("cross_entropy", batch)(
        jnp.asarray(logits_BC), jnp.asarray(others_BC)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_several_adapters_give_the_mean_of_their_outputs():
    rows = adapters.init_stack(jax.random.key(0), layers=2, width=6, bottleneck=3)
    rows = jax.tree.map(lambda leaf: leaf + 0.3, rows)
    one, other = (units.row_at(rows, layer) for layer in range(2))
    hidden_BTD = jax.random.normal(jax.random.key(1), (2, 3, 6))
    outputs = [adapters.apply(adapter, hidden_BTD) for adapter in (one, other)]
    mixed = adapters.apply({"personal": one, "shared": other}, hidden_BTD)
    np.testing.assert_allclose(mixed, np.mean(outputs, axis=0), atol=1e-6)


@functools.cache
def trained():
    """Start, personal adapters, batch and update of two steps in two of three layers."""
    params, batch = random_params(MODEL), tiny_batch(CONFIG)
    personal_L = jax.tree.map(lambda leaf: leaf * 0.7 + 0.02, params["adapters"])
    batches_S = jax.tree.map(lambda leaf: np.stack([leaf] * (STEPS + 1)), batch)
    task = LocalTask(padded_choice(LAYERS, 3, 3), batches_S, jnp.int32(STEPS), personal_L)
    train = feddat.make_feddat_training(
        MODEL, loss="cross_entropy", optimizer=optax.adam(RATE), skip_frozen=True
    )
    return params, personal_L, batch, jax.jit(train)(*units.split(params, "adapter"), task)


@functools.cache
def plainly():
    """The same by autodiff of the whole model and adapters of all layers, without the engine."""
    params, personal_L, batch, _ = trained()
    copy_L, chosen_L = params["adapters"], np.isin(np.arange(3), LAYERS)

    def logits(adapter_rows, head):
        return base.apply(MODEL, {**params, "adapters": adapter_rows, "head": head}, batch)

    def loss(logits_BC, others_BC):
        log_q_BC = jax.nn.log_softmax(logits_BC)
        task = -jnp.mean(log_q_BC[jnp.arange(3), batch.labels_B])
        p_BC = jax.nn.softmax(others_BC / 3)
        gap_BC = jnp.log(p_BC) - jax.nn.log_softmax(logits_BC / 3)
        return 0.5 * (task + 9 * jnp.mean(jnp.sum(p_BC * gap_BC, axis=1)))

    @jax.jit
    def slopes(shared, personal_L):
        z1, zt = logits(*shared), logits({"a": personal_L, "b": copy_L}, shared[1])

        def of_shared(shared):
            return loss(logits(*shared), zt)

        def of_personal(personal_L):
            return loss(logits({"a": personal_L, "b": copy_L}, shared[1]), z1)

        return jax.grad(of_shared)(shared), jax.grad(of_personal)(personal_L)

    def frozen_rows(leaf):
        return jnp.where(chosen_L.reshape(-1, *(1,) * (leaf.ndim - 1)), leaf, 0.0)

    shared, optimizer = (params["adapters"], params["head"]), optax.adam(RATE)
    of_shared, of_personal = optimizer.init(shared), optimizer.init(personal_L)
    for _ in range(STEPS):
        (rows, head), own = slopes(shared, personal_L)
        rows, own = (jax.tree.map(frozen_rows, slope) for slope in (rows, own))
        updates, of_shared = optimizer.update((rows, head), of_shared)
        shared = optax.apply_updates(shared, updates)
        updates, of_personal = optimizer.update(own, of_personal)
        personal_L = optax.apply_updates(personal_L, updates)
    return (*shared, personal_L)


def assert_near(found, expected):
    chex.assert_trees_all_close(found, expected, rtol=1e-7, atol=2e-4)


def test_two_steps_equal_those_of_plain_autodiff():
    *_, update = trained()
    rows_L, head, personal_L = plainly()
    chosen = jax.tree.map(lambda leaf: leaf[np.array(LAYERS)], rows_L)
    assert_near(jax.tree.map(lambda leaf: leaf[:2], update.rows_R), chosen)
    assert_near(update.head, head)
    assert_near(update.personal_L, personal_L)


def test_personal_adapters_of_layers_not_chosen_stay():
    _, personal_L, _, update = trained()
    for before, after in zip(*map(jax.tree.leaves, (personal_L, update.personal_L)), strict=True):
        np.testing.assert_array_equal(after[1], before[1])
        assert np.any(after[0] != before[0])
        assert np.any(after[2] != before[2])


def test_a_step_that_is_not_taken_has_no_loss():
    *_, update = trained()
    assert np.all(update.losses_S[:STEPS] > 0)
    assert update.losses_S[STEPS] == 0


def test_both_branches_train_under_a_head_that_is_frozen():
    params, personal_L, batch, with_head = trained()
    batches_S = jax.tree.map(lambda leaf: np.stack([leaf] * (STEPS + 1)), batch)
    task = LocalTask(
        padded_choice(LAYERS, 3, 3), batches_S, jnp.int32(STEPS), personal_L, trains_head=False
    )
    train = feddat.make_feddat_training(
        MODEL, loss="cross_entropy", optimizer=optax.adam(RATE), skip_frozen=True
    )
    found = jax.jit(train)(*units.split(params, "adapter"), task)
    chex.assert_trees_all_equal(found.head, params["head"])
    np.testing.assert_allclose(found.losses_S[0], with_head.losses_S[0], rtol=1e-6)
    assert not np.allclose(found.losses_S[1], with_head.losses_S[1], rtol=1e-4)
    for name in ("rows_R", "personal_L"):
        pairs = zip(
            *(jax.tree.leaves(getattr(made, name)) for made in (found, with_head)), strict=True
        )
        assert any(not np.allclose(*pair, atol=1e-6) for pair in pairs)
