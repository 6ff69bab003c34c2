"""DP-SGD of one client on a toy model: its gradient, its noise, and what it tells."""

import dataclasses

import jax
import numpy as np
import optax
import pytest

from f3ocus_jax.clients.local import LocalNoise, LocalTask
from f3ocus_jax.models import units
from f3ocus_jax.privacy.settings import PrivacyConfig
from f3ocus_jax.privacy.training import make_private_training
from tests.helpers.choices import padded_choice
from tests.helpers.example_gradients import one_by_one
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, SLOTS, CHOSEN, STEPS, EXAMPLES = 3, 2, [1], 3, 5
EXPECTED = 4.0
"""Expected size of a batch, other than the number of its slots."""
RATE = 0.5


def make(multiplier, clip=0.1, **settings):
    """(train, inputs) of a client that trains one layer by plain gradient steps."""
    model = toy_model(layers=LAYERS)
    params = model.init(jax.random.key(0))
    train = make_private_training(
        model,
        unit="adapter",
        loss="cross_entropy",
        optimizer=optax.sgd(RATE),
        privacy=PrivacyConfig(unit="example", clip=clip, noise_multiplier=multiplier),
        skip_frozen=True,
        **settings,
    )
    return train, units.split(params, "adapter"), (model, params)


def task(key=0, steps=1, empty=False, **settings):
    batch = toy_batch(EXAMPLES)
    if empty:
        batch = batch.replace(example_mask_B=np.zeros(EXAMPLES, np.float32))
    batches_S = jax.tree.map(lambda leaf: np.stack([leaf] * STEPS), batch)
    noise = LocalNoise(jax.random.key_data(jax.random.key(key)), np.float32(EXPECTED))
    choice = padded_choice(CHOSEN, SLOTS, LAYERS)
    return LocalTask(choice, batches_S, np.int32(steps), noise=noise, **settings)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_a_step_is_the_clipped_sum_over_the_expected_size():
    train, (frozen, rows_L, head), (model, params) = make(1e-7)
    made = jax.jit(train)(frozen, rows_L, head, task())
    each, norms_B = one_by_one(model, "adapter", params, toy_batch(EXAMPLES), CHOSEN)
    factors_B = np.minimum(1, 0.1 / norms_B)
    assert (factors_B < 1).any()
    gradients = jax.tree.map(lambda leaf: np.tensordot(factors_B, leaf, 1) / EXPECTED, each)
    change_R = jax.tree.map(lambda new, old: new[:1] - old[CHOSEN[0]][None], made.rows_R, rows_L)
    change = jax.tree.map(lambda new, old: new - old, made.head, head)
    np.testing.assert_allclose(flat((change_R, change)), -RATE * flat(gradients), atol=1e-6)


def test_losses_of_training_examples_are_not_told():
    train, inputs, _ = make(1.0)
    np.testing.assert_array_equal(jax.jit(train)(*inputs, task(steps=2)).losses_S, [0, 0, 0])


@pytest.mark.parametrize("steps", [1, 3])
def test_the_noise_of_each_step_has_the_accounted_size_and_is_its_own(steps):
    """Without examples a change is noise, of deviation rate · multiplier · C / B per step."""
    train, (frozen, rows_L, head), _ = make(2.0)
    one = task(steps=steps, empty=True)

    def changes(key_data):
        noised = dataclasses.replace(one, noise=LocalNoise(key_data, np.float32(EXPECTED)))
        made = train(frozen, rows_L, head, noised)
        rows = jax.tree.map(lambda new, old: new[0] - old[CHOSEN[0]], made.rows_R, rows_L)
        return rows, jax.tree.map(lambda new, old: new - old, made.head, head)

    keys = jax.random.key_data(jax.random.split(jax.random.key(1), 600))
    found = jax.jit(jax.vmap(changes))(keys)
    whole = np.concatenate([np.reshape(leaf, (600, -1)) for leaf in jax.tree.leaves(found)], 1)
    deviation = RATE * 2.0 * 0.1 / EXPECTED * np.sqrt(steps)
    assert whole.std() == pytest.approx(deviation, rel=0.02)
    assert whole.std(axis=0) == pytest.approx(deviation, rel=0.15)
    assert abs(whole.mean()) < 5 * deviation / np.sqrt(whole.size)


def test_a_frozen_head_stays_and_is_in_no_norm():
    train, (frozen, rows_L, head), (model, params) = make(1e-7, clip=0.02)
    made = jax.jit(train)(frozen, rows_L, head, task(trains_head=False))
    np.testing.assert_array_equal(flat(made.head), flat(head))
    settings = {"trains_head": False}
    each, norms_B = one_by_one(model, "adapter", params, toy_batch(EXAMPLES), CHOSEN, **settings)
    factors_B = np.minimum(1, 0.02 / norms_B)
    expected = jax.tree.map(lambda leaf: np.tensordot(factors_B, leaf, 1) / EXPECTED, each[0])
    change_R = jax.tree.map(lambda new, old: new[:1] - old[CHOSEN[0]][None], made.rows_R, rows_L)
    np.testing.assert_allclose(flat(change_R), -RATE * flat(expected), atol=1e-6)


def test_a_task_without_noise_is_refused():
    train, inputs, _ = make(1.0)
    with pytest.raises(ValueError, match=r"has no noise; give LocalTask\.noise"):
        train(*inputs, dataclasses.replace(task(), noise=None))
