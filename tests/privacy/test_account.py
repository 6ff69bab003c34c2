"""What a site has spent, release by release."""

import pytest

from f3ocus_jax.deployment import site_account
from f3ocus_jax.errors import DataError
from f3ocus_jax.privacy import accountant
from f3ocus_jax.privacy.account import Account
from f3ocus_jax.privacy.accountant import Mechanism
from f3ocus_jax.privacy.settings import PrivacyConfig


def account(**settings):
    return Account(PrivacyConfig(unit="example", **settings), examples=80, batch_size=8)


def test_an_account_begins_at_nothing_and_adds_up_scores_and_steps():
    found = account(score_noise_multiplier=5.0).add(scores=1).add(steps=3).add(scores=1, steps=2)
    assert found.releases == {Mechanism(1.0, 0.1): 5, Mechanism(5.0): 2}
    expected = accountant.epsilon(found.releases, 1e-5)
    assert (found.spent.epsilon, found.spent.delta) == (expected, 1e-5)
    assert account().spent.epsilon == 0


def test_mechanisms_that_are_alike_are_counted_together():
    small = Account(PrivacyConfig(score_noise_multiplier=1.0), examples=4, batch_size=8)
    assert small.add(scores=2, steps=3).releases == {Mechanism(1.0): 5}


def test_the_budget_allows_what_stays_within_it():
    cost = account().add(steps=4).spent.epsilon
    limited = account(epsilon=cost * 1.0001)
    assert limited.allows(steps=4)
    assert not limited.allows(steps=5)
    assert not limited.add(steps=4).allows(scores=1)
    assert account().allows(steps=10**6)


def test_a_site_that_is_started_again_goes_on_with_its_account(tmp_path):
    site_account.write(tmp_path, account().add(scores=2, steps=7))
    assert site_account.read(tmp_path, account()) == account().add(scores=2, steps=7)
    assert [path.name for path in tmp_path.iterdir()] == ["account.json"]


def test_a_site_without_a_file_has_released_nothing(tmp_path):
    assert site_account.read(tmp_path, account()) == account()


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"scores": null, "steps": 1}'])
def test_a_damaged_account_is_no_account_of_nothing(text, tmp_path):
    (tmp_path / site_account.FILE).write_text(text)
    with pytest.raises(DataError, match="holds no account of what the site has released"):
        site_account.read(tmp_path, account())


@pytest.mark.parametrize("count", [0, 2])
def test_an_account_is_not_changed_by_adding_to_it(count):
    before = account()
    before.add(steps=count)
    assert before.steps == 0
