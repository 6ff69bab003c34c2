"""Label vectors are mapped to a federation's findings by their names."""

import numpy as np

from f3ocus_jax.data import targets
from f3ocus_jax.data.table import join_tables
from tests.helpers.tables import table
from tfds_medvqa.common.features import CLASSIFICATION


def findings_table(dataset, names, labels):
    count = len(labels)
    same = {"findings": [names] * count, "label": labels, "task": [CLASSIFICATION] * count}
    return table(range(count), ["x"] * count, dataset, **same)


XRAY = findings_table("a", "edema, mass", ["1 0", "0 1", "1 0"])
OTHER = findings_table("b", "mass, hernia", ["1 1", "0 1"])
QUESTIONS = table([7, 8], "yn", "c", findings=["", ""], label=["", "3"])


def test_names_are_gathered_once_in_the_order_of_their_first_mention():
    clients = [{"train": QUESTIONS}, {"train": XRAY, "test": OTHER}]
    assert targets.finding_names(clients) == ("edema", "mass", "hernia")
    assert targets.finding_names([{"train": QUESTIONS}]) == ()


def test_a_dataset_is_not_asked_about_findings_that_it_does_not_name():
    found = targets.make_targets(XRAY, ("edema", "mass", "hernia"))
    assert found.dtype == np.int8
    np.testing.assert_array_equal(found, [[1, 0, -1], [0, 1, -1], [1, 0, -1]])


def test_a_client_of_several_datasets_and_one_of_questions():
    both = join_tables([OTHER, XRAY]).take(np.array([4, 0, 1]))
    found = targets.make_targets(both, ("edema", "mass", "hernia"))
    np.testing.assert_array_equal(found, [[1, 0, -1], [-1, 1, 1], [-1, 0, 1]])
    np.testing.assert_array_equal(targets.make_targets(QUESTIONS, ("edema",)), [[-1], [-1]])
