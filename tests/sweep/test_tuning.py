"""A sweep's tuning: equal candidates for all methods, winners by validation, and its errors."""

import math

import pytest

from f3ocus_jax.errors import ConfigError
from f3ocus_jax.sweep.plan import make_plan
from f3ocus_jax.sweep.tuning import list_candidates
from tests.helpers.tuned_sweeps import RATES, fail, final, finish, finish_tuning, tuned

BEST_IS_LAST = dict(zip(RATES, (0.2, 0.3, 0.4), strict=True))


def rates_of(runs):
    return [run.config.training.learning_rate for run in runs]


def test_every_method_tries_the_same_candidates_on_validation_alone(tmp_path):
    plan = make_plan(
        tuned(methods=("f3ocus", "fd"), seeds=(0, 1), tuning={"seeds": (7, 8)}), tmp_path
    )
    tried = {
        (run.cell.method, rate, run.seed) for run, rate in zip(plan, rates_of(plan), strict=True)
    }
    expected = {(m, rate, seed) for m in ("f3ocus", "fd") for rate in RATES for seed in (7, 8)}
    assert tried == expected
    assert len(plan) == 12
    assert {run.config.evaluation.test for run in plan} == {False}
    assert [str(run) for run in plan.waiting] == [
        f"phantom:tiny {method} seed {seed}" for seed in (0, 1) for method in ("f3ocus", "fd")
    ]


def test_runs_that_wait_are_counted_as_runs_of_the_first_candidate(tmp_path):
    plan = make_plan(tuned(methods=("f3ocus", "fd"), seeds=(0, 1)), tmp_path)
    every = plan.with_waiting()
    assert every[:6] == list(plan)
    assert [(run.cell.method, run.seed, run.tunes) for run in every[6:]] == [
        (method, seed, False) for seed in (0, 1) for method in ("f3ocus", "fd")
    ]
    assert rates_of(every[6:]) == [RATES[0]] * 4
    assert {run.config.evaluation.test for run in every[6:]} == {True}


def test_a_cell_gets_its_runs_once_all_of_its_candidates_are_tried(tmp_path):
    sweep = tuned(methods=("f3ocus", "fd"), seeds=(0, 1))
    plan = make_plan(sweep, tmp_path)
    ours = [run for run in plan if run.cell.method == "f3ocus"]
    for run, value in zip(ours[:2], (0.5, 0.1), strict=True):
        finish(run, tmp_path, value)
    assert plan.renewed() is plan
    finish(ours[2], tmp_path, 0.2)
    renewed = plan.renewed()
    assert [(run.cell.method, run.seed) for run in final(renewed)] == [("f3ocus", 0), ("f3ocus", 1)]
    assert rates_of(final(renewed)) == [RATES[0]] * 2
    assert {run.config.evaluation.test for run in final(renewed)} == {True}
    assert {run.cell.setting for run in final(renewed)} == {""}  # not split by their winners
    assert {run.cell.method for run in renewed.waiting} == {"fd"}
    assert renewed.runs == make_plan(sweep, tmp_path).runs


def test_the_winner_has_the_best_mean_over_seeds_at_the_best_rounds_and_is_first_of_equals(
    tmp_path,
):
    plan = make_plan(tuned(tuning={"seeds": (7, 8)}), tmp_path)
    rounds = {
        (RATES[0], 7): (0.1, 0.9, 0.1),
        (RATES[0], 8): (0.0, 0.0, 0.1),
        (RATES[1], 7): (0.2, 0.6, 0.0),
        (RATES[1], 8): (0.5, 0.0, 0.0),
        (RATES[2], 7): (0.5,),
        (RATES[2], 8): (0.6,),
    }
    for run, rate in zip(plan, rates_of(plan), strict=True):
        finish(run, tmp_path, *rounds[rate, run.seed])
    (winner,) = final(plan.renewed())
    assert rates_of([winner]) == [RATES[1]]


def test_a_candidate_that_failed_is_out_and_a_cell_without_any_has_no_runs(tmp_path):
    plan = make_plan(tuned(methods=("f3ocus", "fd"), tuning={"seeds": (7, 8)}), tmp_path)
    for run, rate in zip(plan, rates_of(plan), strict=True):
        if run.cell.method == "fd" or (rate == RATES[2] and run.seed == 8):
            fail(run, tmp_path, "the loss is nan")
        else:
            finish(run, tmp_path, BEST_IS_LAST[rate])
    renewed = plan.renewed()
    assert rates_of(final(renewed)) == [RATES[1]]
    (never,) = renewed.undecided
    assert (never.cell.method, never.failed) == ("fd", True)
    assert never.reason == "all 3 candidates failed in tuning: the loss is nan"
    assert renewed.waiting == []


def test_more_seeds_methods_and_candidates_add_new_runs_only(tmp_path):
    before = finish_tuning(tuned(), tmp_path, BEST_IS_LAST)
    keys = {run.key for run in before}
    more = make_plan(tuned(methods=("f3ocus", "fd"), seeds=(0, 1)), tmp_path)
    assert keys < {run.key for run in more}
    assert len(more) == 3 + 3 + 2
    worse, better = (tuned(rates=(*RATES, rate)) for rate in (8e-3, 16e-3))
    plan = make_plan(worse, tmp_path)
    assert {run.key for run in plan} - keys == {plan[3].key}  # of the new candidate alone
    plan = finish_tuning(worse, tmp_path, {8e-3: 0.1})
    assert final(plan) == final(before)
    plan = finish_tuning(better, tmp_path, {16e-3: 0.9})
    assert rates_of(final(plan)) == [16e-3]


def test_an_unreadable_result_of_a_candidate_puts_it_out(tmp_path):
    plan = finish_tuning(tuned(), tmp_path, BEST_IS_LAST)
    (plan[2].folder(tmp_path) / "records.jsonl").unlink()
    again = make_plan(tuned(), tmp_path)
    assert rates_of(final(again)) == [RATES[1]]
    assert "holds no result on validation examples" in again.cells[0].decision.measured[2].problem


def test_random_candidates_stay_as_trials_are_added_and_lie_in_their_ranges():
    values = {
        "training": {
            "learning_rate": {"low": 1e-4, "high": 1e-2, "scale": "log"},
            "max_local_steps": {"low": 2, "high": 4},
        },
        "federated": {"budgets": ((1,), (2,))},
    }

    def draw(**tuning):
        return list_candidates(
            tuned(tuning={"search": "random", "values": values, **tuning}).tuning
        )

    many = draw(trials=300)
    assert many[:5] == draw(trials=5)
    assert many != draw(trials=300, seed=1)
    rates = [each["training.learning_rate"] for each in many]
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    below = sum(rate < 1e-3 for rate in rates)  # the middle of a logarithmic scale
    assert abs(below - 150) < 4 * math.sqrt(300 / 4)
    for name, kinds in (
        ("training.max_local_steps", (2, 3, 4)),
        ("federated.budgets", ((1,), (2,))),
    ):
        counts = [sum(each[name] == kind for each in many) for kind in kinds]
        assert sum(counts) == 300
        assert min(counts) > 200 / len(kinds)


def test_a_random_search_ends_where_there_are_no_other_candidates():
    values = {"training": {"max_local_steps": (2, 3)}, "federated": {"budgets": ((1,), (2,))}}
    found = list_candidates(tuned(tuning={"search": "random", "values": values}).tuning)
    assert len({str(each) for each in found}) == len(found) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search": "bayes"}, r"config.tuning.search = 'bayes', must be one of"),
        ({"values": {}}, r"config.tuning.values = {}, must be one setting or more"),
        (
            {"values": {"training": {"learning_rat": (1.0,)}}},
            "config.tuning.values.training.learning_rat is unknown; did you mean "
            "training.learning_rate",
        ),
        (
            {"values": {"data": {"validation_share": (0.1, 0.3)}}},
            "config.tuning.values.data.validation_share cannot be tuned",
        ),
        ({"values": {"seed": (0, 1)}}, "config.tuning.values.seed cannot be tuned"),
        (
            {"values": {"training": {"learning_rate": 1e-3}}},
            "config.tuning.values.training.learning_rate = 0.001, must be a tuple of one value",
        ),
        (
            {"values": {"training": {"learning_rate": {"low": 1e-3, "high": 1e-2}}}},
            "config.tuning.values.training.learning_rate = .*must be a tuple of one value or more$",
        ),
        (
            {
                "search": "random",
                "values": {"training": {"learning_rate": {"low": 0, "high": 1.0, "scale": "log"}}},
            },
            "config.tuning.values.training.learning_rate = .*must be a range with low < high",
        ),
        (
            {"values": {"training": {"learning_rate": (1e-3, -1.0)}}},
            "run phantom:tiny f3ocus tuning training.learning_rate=-1.0 seed 1000: "
            "config.training.learning_rate = -1.0",
        ),
        ({"trials": 0}, "config.tuning.trials = 0"),
        ({"seeds": (1, 1)}, "config.tuning.seeds = .*one or more, each once"),
    ],
)
def test_an_impossible_tuning_is_refused_before_any_run(changes, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        make_plan(tuned(tuning=changes), tmp_path)


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"settings": {"training": {"learning_rate": 1e-3}}}, "settings"),
        ({"grid": {"training": {"learning_rate": (1e-3,)}}}, "grid"),
        ({"rows": ({}, {"training": {"learning_rate": 1e-3}})}, r"rows\[1\]"),
    ],
)
def test_a_setting_is_tuned_or_given(changes, place, tmp_path):
    message = f"learning_rate is tuned, and also given in config.{place}: keep one of them"
    with pytest.raises(ConfigError, match=message):
        make_plan(tuned(**changes), tmp_path)


def test_nothing_can_be_tuned_without_validation_examples(tmp_path):
    message = (
        "run phantom:tiny f3ocus tuning training.learning_rate=0.001 seed 1000: "
        "config.data.validation_share = 0.0, must be > 0"
    )
    with pytest.raises(ConfigError, match=message):
        make_plan(tuned(settings={"data": {"validation_share": 0.0}}), tmp_path)
