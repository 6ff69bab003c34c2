"""What every score of the registry keeps to."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from f3ocus_jax import importance
from f3ocus_jax.clients import placement
from f3ocus_jax.importance import score as score_lib
from f3ocus_jax.models import units
from tests.helpers.oracles import toy_batch, toy_model
from tests.helpers.scores import make_score

LAYERS, CLIENTS, UNITS = 3, 5, ("adapter", "block")
MODEL = toy_model(layers=LAYERS, width=4)
WITHOUT_DATA = ("random", "last", "magnitude", "synflow")
SIGNED = ("grasp",)

every_score = pytest.mark.parametrize("name", importance.SCORES)


@functools.cache
def scorer(name, unit="adapter"):
    """A compiled score, shared by the tests; `traces` counts how often it was traced."""
    score, traces = make_score(name, MODEL, unit=unit), []

    def counted(*arguments):
        traces.append(1)
        return score(*arguments)

    return jax.jit(counted), traces


def parts(unit="adapter", seed=0):
    """Parameters small enough for SynFlow's absolute ones not to saturate the toy model."""
    params = jax.tree.map(lambda leaf: 0.5 * leaf, MODEL.init(jax.random.key(seed)))
    return units.split(params, unit)


def taken(name, batch, *, unit="adapter", seed=0, key=3):
    return scorer(name, unit)[0](*parts(unit, seed), batch, jax.random.key(key))


def with_examples(batch, count):
    """The same batch, of which only so many examples count."""
    return batch.replace(example_mask_B=(np.arange(4) < count).astype(np.float32))


def padded(batch, seed):
    """Four examples followed by two that are random and masked."""
    other = toy_batch(2, seed=seed).replace(example_mask_B=np.zeros(2, np.float32))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), batch, other)


@pytest.mark.parametrize("unit", UNITS)
@every_score
def test_scores_are_shares_of_the_layers(name, unit):
    result = taken(name, toy_batch(4), unit=unit)
    assert result.scores_L.shape == result.values_L.shape == (LAYERS,)
    assert result.scores_L.dtype == result.values_L.dtype == jnp.float32
    assert np.all(np.isfinite(result.values_L))
    assert np.all(np.asarray(result.scores_L) >= 0)
    np.testing.assert_allclose(np.sum(result.scores_L), 1.0, rtol=1e-5)
    assert len(set(np.asarray(result.values_L).tolist())) == LAYERS
    np.testing.assert_array_equal(np.argsort(result.scores_L), np.argsort(result.values_L))
    assert name in SIGNED or np.all(np.asarray(result.values_L) >= 0)


@every_score
def test_padding_changes_nothing(name):
    batch = toy_batch(4)
    expected = taken(name, batch).values_L
    for seed in (5, 6):
        values_L = taken(name, padded(batch, seed)).values_L
        np.testing.assert_allclose(values_L, expected, rtol=2e-4, atol=1e-7)


@every_score
def test_the_key_decides_and_data_counts_where_it_should(name):
    batch, other = (toy_batch(4, seed=seed) for seed in (0, 1))
    first, again = (taken(name, batch).values_L for _ in range(2))
    np.testing.assert_array_equal(first, again)
    of_other_key = taken(name, batch, key=4).values_L
    assert np.allclose(of_other_key, first, rtol=1e-4) == (name != "random")
    of_other_data = taken(name, other).values_L
    assert np.array_equal(of_other_data, first) == (name in WITHOUT_DATA)


@every_score
def test_another_round_compiles_nothing(name):
    _, traces = scorer(name)
    taken(name, toy_batch(4))
    before = len(traces)
    taken(name, toy_batch(4, seed=7), seed=2, key=9)
    assert len(traces) == before


@every_score
def test_clients_on_four_devices_get_what_each_gets_alone(name):
    """Five clients, so that a device maps over two, one of them with padding."""
    assert jax.local_device_count() == 4
    batches = [toy_batch(4, seed=client) for client in range(CLIENTS)]
    batches[1] = with_examples(batches[1], 3)
    batches_K = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
    keys_K = jax.random.split(jax.random.key(0), CLIENTS)

    def one(shared, batch_and_key):
        batch, key_data = batch_and_key
        return scorer(name)[0](*shared, batch, jax.random.wrap_key_data(key_data))

    spread = placement.make_map(one, placement="pmap")
    results = spread(parts(), (batches_K, jax.random.key_data(keys_K)))
    assert results.values_L.shape == (CLIENTS, LAYERS)
    alone = [scorer(name)[0](*parts(), *each) for each in zip(batches, keys_K, strict=True)]
    for client, expected in enumerate(alone):
        values_L, scores_L = results.values_L[client], results.scores_L[client]
        np.testing.assert_allclose(values_L, expected.values_L, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(scores_L, expected.scores_L, rtol=1e-3, atol=1e-6)


@every_score
def test_a_client_without_examples_still_has_scores(name):
    """Absent clients are scored with everyone's program; nothing of it may be NaN."""
    result = taken(name, with_examples(toy_batch(4), 0))
    np.testing.assert_allclose(np.sum(result.scores_L), 1.0, rtol=1e-5)
    moved_by_weight_decay = ("fedselect",)
    if name not in (*WITHOUT_DATA, *moved_by_weight_decay):
        np.testing.assert_allclose(result.scores_L, 1 / LAYERS, rtol=1e-5)


@pytest.mark.parametrize("examples", [1, 3])
@every_score
def test_a_single_example_and_batches_of_unequal_size(name, examples):
    """Two batches: of one example and none, and of two and one."""
    result = taken(name, with_examples(toy_batch(4), examples))
    assert np.all(np.isfinite(result.values_L))
    np.testing.assert_allclose(np.sum(result.scores_L), 1.0, rtol=1e-5)


def test_signed_values_keep_their_order_and_the_ratios_of_their_differences():
    scores_L = np.asarray(score_lib.shifted_fractions(jnp.array([-2.0, 0.0, 4.0, -1.0])))
    np.testing.assert_allclose(scores_L, np.array([0, 2, 6, 1]) / 9, rtol=1e-6)
    np.testing.assert_array_equal(score_lib.shifted_fractions(jnp.full(4, -3.0)), np.full(4, 0.25))


def test_shares_of_nothing_are_uniform():
    np.testing.assert_array_equal(score_lib.fractions(jnp.zeros(4)), np.full(4, 0.25))
