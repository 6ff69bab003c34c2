"""Comparison of methods with the reference over seeds and clients."""

import dataclasses
import math
import random

import numpy as np
import pytest

from f3ocus_jax.sweep.arms import Arm
from f3ocus_jax.sweep.results import ClientResult
from f3ocus_jax.sweep.study import Study, mcnemar_of
from tests.helpers.sweep_results import make_result, make_results, with_setting

COLUMN = ("task1", "vilt")


def compared(study):
    return {each.arm.method: each for each in study.compare(COLUMN)}


def test_methods_that_differ_are_separated_and_methods_that_do_not_are_not():
    found = compared(Study(make_results({"f3ocus": 0.1, "lntk": 0.1, "fd": 0.0})))
    assert found["fd"].separated
    assert not found["lntk"].separated
    assert found["fd"].difference.mean == pytest.approx(-0.1, abs=0.02)
    assert (found["fd"].pairs, found["fd"].difference.n, found["fd"].reason) == (25, 5, "")


def test_pairs_alone_separate_nothing_where_seeds_disagree():
    # Every client of a seed moves with it: 25 pairs that are 2 observations.
    reference = make_results({"f3ocus": 0.0}, seeds=(0, 1))
    other = [
        dataclasses.replace(
            run,
            method="fd",
            key=f"fd{run.seed}",
            clients={
                name: ClientResult({"accuracy": client.metrics["accuracy"] + shift})
                for name, client in run.clients.items()
            },
        )
        for run, shift in zip(reference, (0.01, 0.05), strict=True)
    ]
    found = compared(Study([*reference, *other]))["fd"]
    assert found.p_pairs < 0.01
    assert not found.separated


def test_one_seed_is_an_observation():
    found = compared(Study(make_results(seeds=(0,))))["fd"]
    assert (found.reason, found.separated) == ("one seed: an observation", False)
    assert math.isnan(found.p_seeds)


def test_runs_without_a_partner_are_counted_and_not_compared():
    runs = make_results({"f3ocus": 0.1, "fd": 0.0})
    found = compared(Study([run for run in runs if (run.method, run.seed) != ("fd", 4)]))["fd"]
    assert (found.pairs, found.unpaired) == (20, 5)
    apart = [run for run in runs if (run.method == "fd") == (run.seed > 2)]
    found = compared(Study(apart))["fd"]
    assert found.reason == "no run of the reference has the same seed and clients"
    assert not found.separated


def test_without_the_reference_nothing_is_compared():
    assert Study(make_results({"fd": 0.0, "snip": 0.1})).compare(COLUMN) == []


def test_a_study_is_independent_of_the_order_of_its_results():
    runs = make_results()
    shuffled = random.Random(0).sample(runs, len(runs))
    assert Study(shuffled).compare(COLUMN) == Study(runs).compare(COLUMN)
    assert Study([*runs, *runs]).compare(COLUMN) == Study(runs).compare(COLUMN)


def test_two_runs_of_one_cell_are_refused():
    run = make_result("task1", "vilt", "fd", 0, 0.0)
    with pytest.raises(ValueError, match="task1-fd-0 and x are both task1 vilt fd"):
        Study([run, dataclasses.replace(run, key="x")])


def test_a_setting_makes_an_arm_of_its_own():
    runs = make_results({"f3ocus": 0.1}, seeds=(0, 1))
    changed = [with_setting(run, "selection.algorithm=sa", algorithm="sa") for run in runs]
    study = Study([*changed, *runs])
    assert study.reference_arm(COLUMN) == Arm("f3ocus")
    assert [each.arm.title for each in study.compare(COLUMN)] == ["F³OCUS (selection.algorithm=sa)"]


def test_ranks_are_taken_over_clients_of_all_tasks():
    gains = {"f3ocus": 0.2, "snip": 0.1, "fd": 0.0}
    study = Study(make_results(gains, bases=("task1", "task2")))
    found = study.compare_ranks()
    assert (found.blocks, found.left_out) == (10, 0)
    ranks = dict(zip([arm.method for arm in study.arms], found.average_ranks, strict=True))
    assert ranks == {"f3ocus": 1, "snip": 2, "fd": 3}
    only_one = make_results({"lntk": 0.1}, bases=("task2",))
    partial = Study([*make_results(gains, bases=("task1", "task2")), *only_one]).compare_ranks()
    assert (partial.blocks, partial.left_out) == (5, 5)


def test_mcnemar_takes_the_clients_whose_questions_are_the_same():
    one, other = make_results({"f3ocus": 0.1, "fd": 0.0}, seeds=(0,))
    assert mcnemar_of(one, other).n == 1000
    moved = dataclasses.replace(other, examples={**other.examples, "slake": "other"})
    assert mcnemar_of(one, moved).n == 800
    assert mcnemar_of(one, dataclasses.replace(other, correct=None)) is None
    assert mcnemar_of(one, dataclasses.replace(other, examples={})) is None
    found = Study([one, other]).same_questions(COLUMN, Arm("fd"))
    assert found[0].only_second > found[0].only_first
    assert np.isclose(found[0].p_mid, mcnemar_of(other, one).p_mid)
