"""Membership of one example, guessed from what DP-SGD releases, against what epsilon allows.

The adversary knows all other examples and the start. It looks in the direction that separates best
the gradient of the one that is in question from the noise and from the draws of the others.
"""

import dataclasses

import jax
import numpy as np
import optax
import pytest
from scipy import stats

from f3ocus_jax.clients.local import LocalNoise, LocalTask
from f3ocus_jax.models import units
from f3ocus_jax.privacy import accountant
from f3ocus_jax.privacy.accountant import Mechanism
from f3ocus_jax.privacy.settings import PrivacyConfig
from f3ocus_jax.privacy.training import make_private_training
from tests.helpers.choices import padded_choice
from tests.helpers.example_gradients import one_by_one
from tests.helpers.oracles import toy_batch, toy_model

LAYERS, CHOSEN, EXAMPLES, STEPS, RATE, CLIP = 3, [1], 6, 2, 0.5, 0.05
TRIALS, DELTA = 2000, 1e-3
CONFIDENCE = 1e-4
"""Error of each limit of a rate; some hundred of them are looked at."""


def flat(tree):
    leaves = jax.tree.leaves(tree)
    return np.concatenate([np.reshape(leaf, (len(leaf), -1)) for leaf in leaves], 1)


def covariance(others, multiplier):
    """Covariance of a step's sum: of the draws of the other examples, and of the noise."""
    of_draws = RATE * (1 - RATE) * others.T @ others
    return of_draws + (multiplier * CLIP) ** 2 * np.eye(others.shape[1])


@pytest.fixture(scope="module")
def release():
    """(multiplier, member) -> statistic of each trial; larger means rather a member."""
    model, batch = toy_model(layers=LAYERS), toy_batch(EXAMPLES)
    params = model.init(jax.random.key(0))
    frozen, rows_L, head = units.split(params, "adapter")
    each, norms_B = one_by_one(model, "adapter", params, batch, CHOSEN)
    clipped = flat(each) * np.minimum(1, CLIP / norms_B)[:, None]
    batches_S = jax.tree.map(lambda leaf: np.stack([leaf] * STEPS), batch)
    task = LocalTask(padded_choice(CHOSEN, 1, LAYERS), batches_S, np.int32(STEPS))
    size = np.float32(RATE * EXAMPLES)

    def make(multiplier):
        privacy = PrivacyConfig(unit="example", clip=CLIP, noise_multiplier=multiplier)
        train = make_private_training(
            model,
            unit="adapter",
            loss="cross_entropy",
            optimizer=optax.sgd(1.0),
            privacy=privacy,
            skip_frozen=True,
        )

        def change(key_data, mask_SB):
            drawn = batches_S.replace(example_mask_B=mask_SB)
            one = dataclasses.replace(task, batches_S=drawn, noise=LocalNoise(key_data, size))
            made = train(frozen, rows_L, head, one)
            rows = jax.tree.map(lambda new, old: new[0] - old[CHOSEN[0]], made.rows_R, rows_L)
            return rows, jax.tree.map(lambda new, old: new - old, made.head, head)

        return jax.jit(jax.vmap(change))

    def statistics(multiplier, member, seed=0):
        keys = jax.random.split(jax.random.key(10 * seed + member), TRIALS)
        draw = np.random.default_rng([seed, member])
        masks = (draw.random((TRIALS, STEPS, EXAMPLES)) < RATE).astype(np.float32)
        masks[..., 0] *= member
        direction = -np.linalg.solve(covariance(clipped[1:], multiplier), clipped[0])
        return flat(make(multiplier)(jax.random.key_data(keys), masks)) @ direction

    return statistics


def epsilon(multiplier):
    return accountant.epsilon({Mechanism(multiplier, RATE): STEPS}, DELTA)


def rates(members, others):
    """(true, false positives) of every threshold, as counts of `TRIALS`."""
    thresholds = np.quantile(np.concatenate([members, others]), np.linspace(0.005, 0.995, 100))
    return [(int(np.sum(members > one)), int(np.sum(others > one))) for one in thresholds]


def lower(count):
    return stats.beta.ppf(CONFIDENCE, count, TRIALS - count + 1) if count else 0.0


def upper(count):
    return stats.beta.ppf(1 - CONFIDENCE, count + 1, TRIALS - count) if count < TRIALS else 1.0


def excesses(members, others, allowed):
    """By how much the surely reached rate of hits exceeds e^ε × false alarms + δ, at most."""
    found = []
    for hits, alarms in rates(members, others):
        found.append(lower(hits) - np.exp(allowed) * upper(alarms) - DELTA)
        # The same bound for the guess that it is no member.
        found.append(lower(TRIALS - alarms) - np.exp(allowed) * upper(TRIALS - hits) - DELTA)
    return max(found)


def advantage(members, others):
    """Surely reached difference of hits and false alarms; 0 is chance."""
    return max(lower(hits) - upper(alarms) for hits, alarms in rates(members, others))


@pytest.mark.parametrize("multiplier", [0.8, 2.0])
def test_no_threshold_beats_what_epsilon_allows(release, multiplier):
    members, others = release(multiplier, 1), release(multiplier, 0)
    assert excesses(members, others, epsilon(multiplier)) <= 0
    assert epsilon(0.8) > epsilon(2.0)


def test_without_enough_noise_the_same_attack_beats_chance_and_the_bound(release):
    """Noise of a hundredth: the attack sees whether the example was drawn at all, 3 times in 4."""
    members, others = release(0.02, 1), release(0.02, 0)
    assert advantage(members, others) > 0.5
    assert excesses(members, others, epsilon(2.0)) > 0.3


def test_the_attack_is_strong_enough_to_see_noise_that_is_too_small(release):
    """Half of the noise that was paid for is found out at the larger epsilon of the two."""
    members, others = release(0.4, 1), release(0.4, 0)
    assert excesses(members, others, epsilon(2.0)) > 0
    assert excesses(members, others, epsilon(0.4)) <= 0
