"""Budgets become layers or capacities, and clashes of any round are found before the first."""

import itertools

import jax
import numpy as np
import pytest

from f3ocus_jax import selection
from f3ocus_jax.cost.flops import StepFlops
from f3ocus_jax.errors import ConfigError
from f3ocus_jax.federation import budgets
from f3ocus_jax.federation.layer_costs import layer_costs
from f3ocus_jax.federation.participation import Participation
from tests.helpers.configs import read_config
from tests.selection import brute_force

CLIENTS = ["brain", "eye", "lung"]
EQUAL_L = np.full(4, 100.0)
UNEQUAL_L = np.array([100.0, 200.0, 300.0, 400.0])


def config(**settings):
    return read_config("tiny", **({"federated__budgets": (2,)} | settings))


def in_bytes(*given, **settings):
    return config(federated__budgets=given, federated__budget_unit="bytes", **settings)


def made_budgets(settings, costs_L, clients):
    participation = Participation(tuple(clients), settings.federated, settings.seed)
    return budgets.make_budgets(
        costs_L,
        participation,
        limits=settings.limits,
        algorithm=settings.selection.algorithm,
        at_most=settings.selection.budgets == "at_most",
    )


def test_one_budget_serves_all_clients():
    assert made_budgets(config(), np.ones(4), CLIENTS).budgets_K.tolist() == [2, 2, 2]


def test_a_budget_per_client_is_theirs_in_order():
    made = made_budgets(config(federated__budgets=(1, 4, 2)), np.ones(4), CLIENTS)
    assert made.budgets_K.tolist() == [1, 4, 2]
    assert made.slots == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [((1, 2), "must be 1 number or 3, one per client"), ((5,), "must be at most 4, the number")],
)
def test_budgets_must_fit_clients_and_layers(given, message):
    with pytest.raises(ConfigError, match=message):
        made_budgets(config(federated__budgets=given), np.ones(4), CLIENTS)


def test_forbidden_layers_are_a_clients_own():
    made = made_budgets(config(limits__forbidden={"eye": (0, 3)}), np.ones(4), CLIENTS)
    expected = [[True] * 4, [False, True, True, False], [True] * 4]
    assert made.wanted.allowed_KL.tolist() == expected


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_forbidden_layer_must_be_there(layer):
    with pytest.raises(ConfigError, match=rf"forbidden.eye = .*{layer}.*, must be layers 0 to 3"):
        budgets._allowed({"eye": (0, layer)}, CLIENTS, 4)


def test_bytes_of_equal_layers_are_counted_in_layers():
    """250 bytes pay for two layers of 100, 10 000 for no more than all four."""
    made = made_budgets(in_bytes(100, 250, 10_000), EQUAL_L, CLIENTS)
    assert made.budgets_K.tolist() == [1, 2, 4]
    assert made.limits(np.ones(3, bool), np.ones((3, 4))) is None


def test_bytes_of_unequal_layers_stay_capacities():
    made = made_budgets(in_bytes(100, 300, 1000), UNEQUAL_L, CLIENTS)
    limits = made.limits(np.ones(3, bool), np.tile([1.0, 2.0, 3.0, 4.0], (3, 1)))
    assert limits.start_KL.tolist() == [
        [True, False, False, False],
        [False, False, True, False],
        [True, True, True, True],
    ]
    assert made.slots == 4


def test_a_capacity_below_the_cheapest_layer_names_the_client():
    with pytest.raises(ConfigError, match="at least 100 bytes, the cheapest layer, for client eye"):
        made_budgets(in_bytes(100, 99, 200), EQUAL_L, CLIENTS)


def test_layer_costs_count_what_travels_and_what_is_computed():
    rows_L = {"kernel": np.zeros((4, 3, 5)), "bias": np.zeros((4, 5))}
    flops = StepFlops(4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, row_backward=7.0)
    for unit, cost in {"layers": 1.0, "bytes": 80.0, "flops": 7.0}.items():
        assert layer_costs(unit, rows_L, flops).tolist() == [cost] * 4


def test_an_absent_client_trains_nothing_in_that_round_alone():
    made = made_budgets(config(federated__absent={"eye": (2,)}), np.ones(4), CLIENTS)
    assert made.participation.present(1).tolist() == [True, True, True]
    present_K = made.participation.present(2)
    assert present_K.tolist() == [True, False, True]
    assert np.asarray(made.limits(present_K, np.ones((3, 4))).start_KL).sum(axis=1).tolist() == [
        2,
        0,
        2,
    ]


def test_a_round_without_any_client_is_refused():
    absent = dict.fromkeys(CLIENTS, (2,))
    with pytest.raises(ConfigError, match="leaves no client in round 2"):
        made_budgets(config(federated__absent=absent), np.ones(4), CLIENTS)


def test_a_clash_in_a_later_round_is_found_at_the_start():
    settings = {"federated__absent": {"eye": (2,)}, "limits__minimum_coverage": 1}
    made_budgets(config(federated__budgets=(2,), **settings), np.ones(4), CLIENTS)
    settings["federated__absent"] = {"eye": (2,), "lung": (2,)}
    with pytest.raises(ConfigError, match=r"config.limits, round 2: .*at least 1 for layer"):
        made_budgets(config(federated__budgets=(2,), **settings), np.ones(4), CLIENTS)


def test_a_layer_that_too_few_clients_may_train_is_closed():
    settings = config(limits__minimum_sharers=2, limits__forbidden={"eye": (0,), "lung": (0,)})
    made = made_budgets(settings, np.ones(4), CLIENTS)
    scores_KL = np.array([[0.7, 0.2, 0.1, 0.0], [0.0, 0.4, 0.5, 0.1], [0.0, 0.1, 0.2, 0.7]])
    limits = made.limits(np.ones(3, bool), scores_KL)
    assert np.asarray(limits.allowed_KL).tolist() == [[False, True, True, True]] * 3
    expected_KL = np.array([[0, 1, 0, 1], [0, 1, 1, 0], [0, 0, 1, 1]], bool)
    np.testing.assert_array_equal(limits.start_KL, expected_KL)


def test_rounds_with_too_few_clients_to_share_a_layer_are_found_at_the_start():
    settings = {"federated__absent": {"eye": (2,)}, "limits__minimum_sharers": 2}
    made_budgets(config(**settings), np.ones(4), CLIENTS)
    settings["federated__absent"] = {"eye": (2,), "lung": (2,)}
    with pytest.raises(ConfigError, match=r"round 2: at least 2 clients must share a layer, but"):
        made_budgets(config(**settings), np.ones(4), CLIENTS)


def test_a_client_with_more_layers_than_the_others_can_share_may_leave_some_untrained():
    """Four layers against one each of two others: with budgets spent, two layers would be alone."""
    settings = {"federated__budgets": (4, 1, 1), "limits__minimum_sharers": 2}
    with pytest.raises(ConfigError, match="no way to keep nobody or at least 2 for layer"):
        made_budgets(config(**settings), np.ones(4), CLIENTS)
    settings |= {"selection__budgets": "at_most", "selection__algorithm": "exact"}
    made = made_budgets(config(**settings), np.ones(4), CLIENTS)
    start_KL = np.asarray(made.limits(np.ones(3, bool), np.ones((3, 4))).start_KL)
    assert sorted(start_KL.sum(axis=0)) == [0, 0, 2, 2]


@pytest.mark.parametrize(
    ("settings", "clients", "message"),
    [
        ({"selection__algorithm": "own"}, 3, "keeps no config.limits.minimum_sharers = 2; set it"),
        ({"selection__algorithm": "exact"}, 129, "at most 512 clients x layers with .* are 516"),
    ],
)
def test_algorithms_without_shared_layers_are_refused(settings, clients, message):
    names = [f"hospital {number}" for number in range(clients)]
    with pytest.raises(ConfigError, match=message):
        made_budgets(config(limits__minimum_sharers=2, **settings), np.ones(4), names)


def test_the_cap_of_a_layer_must_leave_room_for_its_sharers():
    with pytest.raises(ConfigError, match=r"or at least config.limits.minimum_sharers = 3"):
        config(limits__maximum_coverage=2, limits__minimum_sharers=3)


def test_exact_takes_few_layers_of_unequal_cost():
    """Three clients with 4 layers are 12 picks, fifteen with 4 are 60; the limit is 48."""
    settings = in_bytes(400, selection__algorithm="exact")
    assert made_budgets(settings, UNEQUAL_L, CLIENTS).wanted.costs_L is not None
    many = [f"hospital {number}" for number in range(15)]
    with pytest.raises(
        ConfigError, match=r"at most 48 clients x layers of unequal cost, here .* 60"
    ):
        made_budgets(settings, UNEQUAL_L, many)


def test_exact_takes_few_layers_of_budgets_that_need_not_be_spent():
    settings = config(selection__algorithm="exact", selection__budgets="at_most")
    many = [f"hospital {number}" for number in range(15)]
    with pytest.raises(
        ConfigError, match=r"layers with config.selection.budgets = 'at_most', here"
    ):
        made_budgets(settings, np.ones(4), many)


@pytest.mark.parametrize("cost", [1.0, 100.0])
def test_the_front_of_budgets_that_need_not_be_spent_is_that_of_all_smaller_choices(cost):
    """Against every choice of one to two layers by client one, and one to three by client two."""
    unit = {1.0: "layers", 100.0: "bytes"}[cost]
    settings = config(
        federated__budgets=(int(2 * cost), int(3 * cost)),
        federated__budget_unit=unit,
        selection__budgets="at_most",
        selection__algorithm="exact",
    )
    made = made_budgets(settings, np.full(4, cost), CLIENTS[:2])
    assert made.budgets_K.tolist() == [2, 3]
    assert made.slots == 3
    scores_KL = brute_force.draw_scores(2, 4, seed=3)
    limits = made.limits(np.ones(2, bool), scores_KL)
    choices = [
        mask_KL
        for picks in itertools.product((1, 2), (1, 2, 3))
        for mask_KL in brute_force.all_choices(4, list(picks))
    ]
    expected = brute_force.front(np.array([brute_force.worth(m, scores_KL) for m in choices]))
    select = selection.make_selector("exact", population=64, generations=1)
    empty_PKL = np.zeros((64, 2, 4), bool)
    found = select(jax.random.key(0), scores_KL, made.budgets_K, empty_PKL, limits)
    front = [mask for mask in np.asarray(found.front_mask_PKL) if mask.any()]
    points = {brute_force.worth(mask, scores_KL) for mask in front}
    np.testing.assert_allclose(sorted(points), sorted(expected), rtol=1e-6)
    assert {int(mask.sum()) for mask in front} > {5}  # some spend less


def test_a_search_does_not_take_budgets_that_need_not_be_spent():
    with pytest.raises(ConfigError, match=r"budgets = 'at_most', must be 'exact' where .*'nsga2'"):
        config(selection__budgets="at_most", selection__algorithm="nsga2")


def test_the_own_choice_spends_the_whole_budget_in_any_case():
    made = made_budgets(
        config(selection__budgets="at_most", selection__algorithm="own"), np.ones(4), CLIENTS
    )
    limits = made.limits(np.ones(3, bool), np.tile([1.0, 2.0, 3.0, 4.0], (3, 1)))
    assert limits.start_KL.tolist() == [[False, False, True, True]] * 3
