"""Who takes part in a round is drawn once and for all from seed, round and client."""

import dataclasses

import numpy as np
import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import budgets
from f3ocus_jax.federation.participation import ABSENT, NOT_SAMPLED, Participation
from tests.helpers.configs import read_config

CLIENTS = tuple(f"hospital {number}" for number in range(20))


def config(**settings):
    named = {f"federated__{name}": value for name, value in settings.items()}
    return read_config("tiny", **({"federated__budgets": (2,)} | named))


def participation(seed=0, **settings):
    return Participation(CLIENTS, config(**settings).federated, seed)


def test_everyone_takes_part_unless_told_otherwise():
    made = participation()
    assert made.everyone
    assert made.most == 20
    assert made.present(1).all()
    assert not made.dropped(1).any()
    assert not made.straggles(1).any()


@pytest.mark.parametrize(
    ("settings", "count"),
    [({"participants": 6}, 6), ({"participation": 0.25}, 5), ({"participation": 0.001}, 1)],
)
def test_a_number_or_a_share_is_drawn_anew_every_round_and_alike_on_every_call(settings, count):
    made, again = participation(**settings), participation(**settings)
    drawn = [made.present(number) for number in range(1, 101)]
    assert {int(present_K.sum()) for present_K in drawn} == {made.most} == {count}
    assert len({present_K.tobytes() for present_K in drawn}) > 1
    assert all(np.array_equal(again.present(n), drawn[n - 1]) for n in range(1, 101))
    assert not np.array_equal(participation(seed=1, **settings).present(1), drawn[0]) or count == 1
    share_K = np.mean(drawn, axis=0)
    # 100 draws: the share of a client is 5 standard deviations from its mean once in 10^6.
    assert np.abs(share_K - count / 20).max() < 5 * np.sqrt(count / 20 * (1 - count / 20) / 100)


def test_only_clients_that_are_there_are_drawn_and_the_reasons_differ():
    absent = dict.fromkeys(CLIENTS[:15], (1,))
    made = participation(participants=6, absent=absent)
    assert made.reasons(1) == [ABSENT] * 15 + [None] * 5
    reasons = made.reasons(2)
    assert reasons.count(NOT_SAMPLED) == 14
    assert reasons.count(None) == 6
    assert not made.everyone


@pytest.mark.parametrize(
    ("away", "drawn"), [(0, 10), (10, 5), (16, 2), (19, 1)], ids=lambda value: str(value)
)
def test_a_share_is_of_the_clients_that_are_there(away, drawn):
    absent = dict.fromkeys(CLIENTS[:away], (1,))
    made = participation(participation=0.5, absent=absent)
    present_K = made.present(1)
    assert present_K.sum() == drawn
    assert not present_K[:away].any()
    assert made.present(2).sum() == made.most == 10


def test_failures_are_drawn_at_their_rate_and_apart_from_each_other():
    made = participation(dropout=0.3, stragglers=0.3)
    dropped = np.array([made.dropped(number) for number in range(1, 201)])
    late = np.array([made.straggles(number) for number in range(1, 201)])
    assert abs(dropped.mean() - 0.3) < 0.05
    assert abs(late.mean() - 0.3) < 0.05
    assert abs((dropped & late).mean() - 0.09) < 0.04


def test_stragglers_take_their_part_of_the_steps_and_one_at_least():
    made = participation(stragglers=0.5, straggler_steps=0.4)
    planned_K = np.array([1, 2, 5, 10, 50] * 4)
    steps_K, late_K = made.steps(1, planned_K), made.straggles(1)
    assert late_K.any()
    assert not late_K.all()
    np.testing.assert_array_equal(steps_K[~late_K], planned_K[~late_K])
    expected_K = np.maximum(1, np.floor(0.4 * planned_K))
    np.testing.assert_array_equal(steps_K[late_K], expected_K[late_K])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"participants": 4}, "participants = 4, must be at most 3, the clients"),
        ({"min_clients": 4}, "min_clients = 4, must be at most 3, the clients"),
        (
            {"participants": 1, "min_clients": 2},
            "min_clients = 2, must be at most 1, the clients of round 1",
        ),
    ],
)
def test_a_round_that_cannot_have_enough_clients_is_refused_at_the_start(settings, message):
    parsed = config(**settings)
    participation = Participation(CLIENTS[:3], parsed.federated, parsed.seed)
    algorithm = parsed.selection.algorithm
    with pytest.raises(ConfigError, match=message):
        budgets.make_budgets(np.ones(4), participation, limits=parsed.limits, algorithm=algorithm)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("participation", 0.0, "must be above 0 and at most 1"),
        ("participants", -1, "must be >= 0"),
        ("min_clients", 0, "must be >= 1"),
        ("dropout", 1.0, "must be at least 0 and below 1"),
        ("stragglers", -0.1, "must be at least 0 and below 1"),
        ("straggler_steps", 0.0, "must be above 0 and at most 1"),
        ("clients_in_memory", -1, "must be 0, or at least"),
    ],
)
def test_impossible_settings_are_refused(name, value, message):
    with pytest.raises(ConfigError, match=message):
        config(**{name: value})


def test_a_number_and_a_share_together_are_refused():
    with pytest.raises(ConfigError, match=r"must be 0 where participation = 0.5"):
        dataclasses.replace(config().federated, participation=0.5, participants=2)
