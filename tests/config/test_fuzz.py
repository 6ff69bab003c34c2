"""Every setting with every bad value: one line, or a run that could start."""

import collections
import random
import re

import pytest

from tests.helpers import fuzz

CASES = fuzz.cases()
SAMPLE = 150
"""Cases of the quick test; `make test-all` tries all of them."""
DATA_DIR = "data"


def described(case, outcome):
    return f"{case.config} {case.setting} {case.label}: {outcome}"


def tried(cases):
    outcomes = [(case, fuzz.outcome(case, DATA_DIR, fuzz.prepare)) for case in cases]
    kinds = collections.Counter(outcome.partition(":")[0] for _, outcome in outcomes)
    print(dict(kinds))
    return outcomes


def check(outcomes):
    defects = [described(*each) for each in outcomes if each[1].startswith("defect")]
    assert not defects, "\n".join(defects)
    errors = [
        described(*each) for each in outcomes if each[1].startswith("error") and "\n" in each[1]
    ]
    assert not errors, "\n".join(errors)
    nonsense = [
        described(*each)
        for each in outcomes
        if each[1] == "run"
        and re.search(r"NaN|inf|2\*\*6|1e300|null|surrogate|lines", each[0].label)
    ]
    assert not nonsense, "\n".join(nonsense)


def test_a_sample_of_bad_values_ends_in_one_line_or_a_run():
    check(tried(random.Random(0).sample(CASES, SAMPLE)))


@pytest.mark.extended
@pytest.mark.parametrize("part", range(8))
def test_every_bad_value_of_every_setting_ends_in_one_line_or_a_run(part):
    check(tried(CASES[part::8]))


def test_every_setting_is_among_the_cases():
    names = {(case.config, case.setting) for case in CASES}
    assert len(names) > 100
    assert {"seed", "optimization.steps", "data.data_dir"} <= {name for _, name in names}
