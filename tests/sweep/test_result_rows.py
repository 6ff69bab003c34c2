"""Results survive a trip through their CSV files to the last bit."""

import dataclasses
import math
import random

import pytest

from f3ocus_jax.errors import DamagedError
from f3ocus_jax.sweep import result_rows
from tests.helpers.sweep_results import make_results, with_setting


def some_results():
    first, second, *rest = make_results(seeds=(0, 3))
    odd = with_setting(second, 'data.datasets=["a, b"]\n"c";=', hypervolume=None, picks=[])
    unknown = dataclasses.replace(first, rounds=[0.1, math.nan, 0.3])
    return [unknown, odd, *rest]


def plain(run):
    """Text of a result, in which NaN equals itself and metrics have one order."""
    clients = {name: sorted(client.metrics.items()) for name, client in run.clients.items()}
    return repr(dataclasses.replace(run, clients=clients)).replace("np.float64", "")


def test_results_are_read_back_as_they_were(tmp_path):
    results = some_results()
    result_rows.write_csv(results, tmp_path)
    found = {run.key: run for run in result_rows.read_csv(tmp_path)}
    assert len(found) == len(results)
    for run in results:
        expected = dataclasses.replace(run, correct=None, examples={}, seconds={})
        assert plain(found[run.key]) == plain(expected)


def test_equal_results_have_equal_bytes_in_any_order(tmp_path):
    results = some_results()
    first = [path.read_bytes() for path in result_rows.write_csv(results, tmp_path / "a")]
    results = [dataclasses.replace(run, seconds={"training": 7.0}) for run in results]
    random.Random(1).shuffle(results)
    again = [*results, results[0]]
    second = [path.read_bytes() for path in result_rows.write_csv(again, tmp_path / "b")]
    assert first == second


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("runs.csv", "key,seed\n1,2\n"),
        ("clients.csv", "key,client,accuracy\n"),
        ("clients.csv", "key,client,accuracy\nk,c,much\n"),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, name, text):
    result_rows.write_csv(some_results(), tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(DamagedError, match="no results of a sweep"):
        result_rows.read_csv(tmp_path)
