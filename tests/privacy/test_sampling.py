"""Batches are Poisson samples, as the accountant assumes, and secret."""

import numpy as np
import pytest
from scipy import stats

from f3ocus_jax.clients.settings import TrainingConfig
from f3ocus_jax.data.examples import ClientData
from f3ocus_jax.privacy import batches, sampling
from f3ocus_jax.privacy.settings import PrivacyConfig
from tests.helpers.oracles import toy_examples

COUNT, SIZE = 40, 8


def drawn(steps=6000, seed=0):
    """bool [S, N], True where an example is in a batch."""
    members = sampling.draw_members(np.random.default_rng(seed), COUNT, steps, SIZE)
    return np.array([np.isin(np.arange(COUNT), some) for some in members])


def test_every_example_is_in_a_batch_with_the_rate_that_is_accounted_for():
    found = drawn()
    assert sampling.sampling_rate(COUNT, SIZE) == 0.2
    worst = np.abs(found.mean(axis=0) - 0.2).max() / np.sqrt(0.2 * 0.8 / len(found))
    assert worst < 4.5


def test_examples_are_drawn_independently_of_each_other_and_of_other_steps():
    found = drawn()
    correlation = np.corrcoef(found, rowvar=False) - np.eye(COUNT)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(found))
    assert abs(np.corrcoef(found[:-1, 0], found[1:, 0])[0, 1]) < 0.06
    sizes = np.bincount(found.sum(axis=1), minlength=COUNT + 1)
    expected = stats.binom.pmf(np.arange(COUNT + 1), COUNT, 0.2) * len(found)
    seen = expected > 5
    fraction = expected[seen].sum() / sizes[seen].sum()
    assert stats.chisquare(sizes[seen] * fraction, expected[seen]).pvalue > 1e-3


def test_a_client_with_few_examples_has_all_of_them_in_every_batch():
    members = sampling.draw_members(np.random.default_rng(0), 5, 3, SIZE)
    assert [some.tolist() for some in members] == [[0, 1, 2, 3, 4]] * 3
    assert sampling.planned_width(5, SIZE) == 5


def test_padding_is_masked_and_no_example_is_cut():
    indices_SW, mask_SW = sampling.pad_members([np.array([3, 7]), np.array([], int)], 3)
    np.testing.assert_array_equal(indices_SW, [[3, 7, 0], [0, 0, 0]])
    np.testing.assert_array_equal(mask_SW, [[1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(("count", "size"), [(40, 8), (2000, 32), (100_000, 16)])
def test_the_planned_width_holds_all_but_one_batch_in_a_billion(count, size):
    width, rate = sampling.planned_width(count, size), size / count
    assert stats.binom.sf(width, count, rate) <= sampling.BEYOND
    assert stats.binom.sf(width - 1, count, rate) > sampling.BEYOND or width == count


def clients(*sizes):
    return [ClientData(f"c{n}", toy_examples(size), None) for n, size in enumerate(sizes)]


def make(some, secret_seed="x", parts=1):
    settings = TrainingConfig(batch_size=SIZE, accumulate=parts)
    privacy = PrivacyConfig(unit="example", secret_seed=secret_seed)
    return batches.make_private_batches(some, settings, 3, privacy)


def test_batches_of_all_clients_have_one_width_that_parts_divide():
    some = clients(30, 5, 12)
    for found in make(some, parts=4).draw(some, 1, 6):
        assert found.labels_B.shape == (6, make(some, parts=4).width)
        assert found.labels_B.shape[1] % 4 == 0
        assert found.example_mask_B.sum(axis=1).max() <= 30


def test_a_batch_beyond_the_planned_width_widens_all(monkeypatch):
    some = clients(30, 30)
    monkeypatch.setattr(sampling, "planned_width", lambda *_: 2)
    found = make(some).draw(some, 1, 20)
    sizes = [one.example_mask_B.sum(axis=1).max() for one in found]
    assert {one.labels_B.shape[1] for one in found} == {int(max(sizes))}
    assert max(sizes) > 2


def test_batches_and_noise_follow_from_the_secret_and_not_from_the_seed_of_the_run():
    some = clients(30, 30)

    def everything(**settings):
        made = make(some, **settings)
        masks = [one.example_mask_B.tobytes() for one in made.draw(some, 1, 4)]
        return [*masks, *map(bytes, made.noise(some, 1).key_data)]

    assert everything() == everything()
    assert not set(everything(secret_seed="")) & set(everything(secret_seed=""))
    assert len(set(everything())) == 4  # two clients, each with draws and noise of its own


def test_noise_knows_the_expected_size_of_a_batch():
    some = clients(30, 5)
    np.testing.assert_array_equal(make(some).noise(some, 1).batch_size, [SIZE, 5])
