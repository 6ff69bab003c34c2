"""The comparison of searches: names, numbers, and what is no search."""

import dataclasses

import numpy as np

from f3ocus_jax.sweep import search_figure
from f3ocus_jax.sweep.intervals import t_interval
from f3ocus_jax.sweep.study import Study
from tests.helpers.sweep_results import make_results, with_setting

COLUMN = ("task1", "vilt")


def results(**changes):
    runs = make_results({"f3ocus": 0.1}, seeds=(0, 1, 2))
    for setting, algorithm in (
        ("selection.algorithm=exact", "exact"),
        ("selection.algorithm=abc selection.variant=published", "abc"),
        ("selection.algorithm=abc", "abc"),
    ):
        base = runs[:3]
        runs += [with_setting(run, setting, algorithm=algorithm, **changes) for run in base]
    return runs + make_results({"fd": 0.0})


def test_searches_stand_in_the_papers_order_with_their_numbers():
    study = Study(results(hypervolume=0.5))
    assert list(search_figure.searches(study, COLUMN)) == [
        "NSGA-II",
        "ABC",
        "ABC (published)",
        "exact front",
    ]
    left, right = search_figure.draw(study, COLUMN, "a title").axes
    drawn = [line.get_xdata()[0] for line in left.lines if line.get_marker() == "D"]
    np.testing.assert_allclose(drawn, [0.71, 0.5, 0.5, 0.5])
    accuracies = [100 * run.accuracy for run in results()[:3]]
    np.testing.assert_allclose(right.lines[2].get_xdata(), accuracies)
    ends = t_interval(accuracies)
    np.testing.assert_allclose(right.lines[0].get_xdata(), [ends.low, ends.high])
    lines = search_figure.describe(study, COLUMN).splitlines()
    assert lines[0].startswith("NSGA-II: hypervolume 0.7100 ± 0.0248 (3 seeds), accuracy ")
    assert lines[1].startswith("ABC: hypervolume 0.5000 ± 0.0000 (3 seeds)")


def test_one_search_or_none_with_a_front_is_no_comparison():
    alone = Study(make_results({"f3ocus": 0.1, "fd": 0.0}))
    assert search_figure.draw(alone, COLUMN) is None
    assert search_figure.describe(alone, COLUMN) == ""
    without = [dataclasses.replace(run, hypervolume=None) for run in results()]
    assert search_figure.draw(Study(without), COLUMN) is None
