"""Noise is Gaussian, of the stated size, from keys that differ, and secret."""

import jax
import numpy as np
import pytest
from scipy import stats

from f3ocus_jax.aggregation.layerwise import Change, WeightedSum
from f3ocus_jax.privacy import noise, secret
from f3ocus_jax.privacy.secret import Secret


def draws(count, deviation):
    """Noise of two leaves in `count` independent draws, [count, 6]."""
    tree = {"a": np.zeros(2, np.float32), "b": np.zeros((2, 2), np.float32)}

    def one(key):
        return noise.add_noise(tree, key, deviation)

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), count))
    return np.concatenate([np.reshape(leaf, (count, -1)) for leaf in jax.tree.leaves(found)], 1)


def test_noise_is_gaussian_with_the_stated_deviation():
    found = draws(4000, 0.7)
    assert stats.kstest(found.ravel() / 0.7, "norm").pvalue > 1e-3
    assert found.std(axis=0) == pytest.approx(0.7, rel=0.06)


def test_noise_is_independent_from_element_to_element():
    correlation = np.corrcoef(draws(4000, 1.0), rowvar=False)
    assert np.abs(correlation - np.eye(6)).max() < 0.07


def sums(value=0.0):
    change = Change({"w": np.full((3, 2), value, np.float32)}, {"answer": np.zeros(4, np.float32)})
    return WeightedSum(change, np.zeros(3, np.float32), {"answer": np.float32(0)})


def test_the_mean_has_the_noise_of_the_clipped_sum_over_the_number_of_clients():
    def one(key):
        given = {"clip": 3.0, "multiplier": 0.5, "clients": 6}
        return noise.noised_mean(sums(12.0), {"answer": True}, key, **given).change

    found = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 3000))
    rows = np.reshape(found.rows["w"], (3000, -1))
    assert rows.mean() == pytest.approx(12 / 6, abs=0.01)
    assert rows.std() == pytest.approx(3.0 * 0.5 / 6, rel=0.03)
    assert np.std(found.heads["answer"]) == pytest.approx(0.25, rel=0.03)


def test_layers_that_nobody_trained_change_too_and_heads_in_their_rounds_alone():
    given = {"clip": 1.0, "multiplier": 1.0, "clients": 2}
    found = noise.noised_mean(sums(), {"answer": False}, jax.random.key(2), **given)
    assert found.trained_L.all()
    assert (found.change.rows["w"] != 0).all()
    assert not found.change.heads["answer"].any()


def test_keys_differ_by_purpose_seed_round_and_client():
    own = Secret(bytes(32))
    facts = [("a", 0, 1, "x"), ("b", 0, 1, "x"), ("a", 1, 1, "x"), ("a", 0, 2, "x")]
    facts += [("a", 0, 1, "y"), ("a", 0, 11, ""), ("a", 0, 1, "1")]
    keys = {own.key_data(*each).tobytes() for each in facts}
    assert len(keys) == len(facts)
    assert own.key_data("a", 0, 1).tobytes() == own.key_data("a", 0, 1).tobytes()
    assert own.key_data("a").dtype == np.uint32


def test_a_secret_of_the_system_is_new_every_time_and_a_given_one_repeats():
    assert secret.take("").value != secret.take("").value
    assert secret.take("x").value == secret.take("x").value != secret.take("y").value
    assert secret.take_common("x").value == secret.take("x").value


def test_a_secret_is_not_printed():
    assert secret.take("x").value.hex() not in repr(secret.take("x"))
    assert repr(Secret(b"abc")) == "Secret()"
